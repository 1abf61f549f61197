"""The only place of the server that knows Flower."""
