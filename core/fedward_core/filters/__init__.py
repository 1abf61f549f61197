"""Filters: what happens to an update between a site's training and the server's fold."""
