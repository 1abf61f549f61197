"""Batches of an image set, and the random views and clips that they are made of."""
