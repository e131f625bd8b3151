"""The query of a visitor: its examples, in the session and in the address."""
