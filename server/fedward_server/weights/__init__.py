"""Frozen weights that sites fetch by digest: added once, kept as files, and named by specs."""
