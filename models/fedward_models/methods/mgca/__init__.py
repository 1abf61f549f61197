"""Alignment of images with their reports at three scales."""
