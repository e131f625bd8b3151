"""Whether the stores rank alike."""
