"""Patients into splits, and one site into several."""
