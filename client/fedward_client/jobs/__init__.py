"""The hospital's own jobs: runs on its own data that nobody outside asks for, one slot shared with federations."""
