"""The only place of the client that knows Flower."""
