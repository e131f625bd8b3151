"""How fast `cbir-serve` answers, next to the same search without HTTP."""
