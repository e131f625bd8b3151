"""Text towers: those of CLIP and its kin, and those that are learned from captions."""
