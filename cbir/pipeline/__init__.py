"""From a source to every store: decode, embed, write, and report."""
