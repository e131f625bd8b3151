"""Results in one report, and reports compared."""
