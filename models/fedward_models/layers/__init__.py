"""Layers shared by several backbones and methods."""
