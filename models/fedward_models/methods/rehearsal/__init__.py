"""A method without images: it rehearses a federation, its delivery and its failures."""
