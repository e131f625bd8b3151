"""What each address of the HTTP API answers."""
