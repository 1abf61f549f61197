"""Residual networks of clips, spatial-temporal separable."""
