"""Finished models at work: opened from the folder of a run, and applied to images."""
