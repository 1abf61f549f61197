"""Towers that others trained on images and texts: reading their files, and what their text side says."""
