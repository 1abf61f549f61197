"""Self-supervised learning in which mixed images are extra positives."""
