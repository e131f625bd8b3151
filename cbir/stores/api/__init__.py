"""Collections that a `cbir-serve` on this or another machine serves."""
