"""The same work done with other libraries."""
