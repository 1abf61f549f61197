"""A method of one's own."""
