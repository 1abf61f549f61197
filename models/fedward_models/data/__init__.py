"""Readers, splits, catalogues, loaders and the generator of simulated hospitals."""
