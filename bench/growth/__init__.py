"""What a change to a large collection costs, compared with a full rebuild."""
