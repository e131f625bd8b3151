"""Collections of a Qdrant server or cluster."""
