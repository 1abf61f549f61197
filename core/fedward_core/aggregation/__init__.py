"""Aggregators: each folds what arrives into the next global weights."""
