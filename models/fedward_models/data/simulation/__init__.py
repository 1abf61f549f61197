"""Simulated hospitals: chest films of patients who never lived, for demonstrations and tests."""
