"""The image tower of CLIP."""
