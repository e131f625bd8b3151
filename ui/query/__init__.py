"""The query of a visitor: its images, in the session and in the address."""
