"""What a collection of a given size will need."""
