"""Runs: one execution of a spec each, from submission to an end with a reason."""
