"""The round loop: orders out, updates in, one checkpoint a round."""
