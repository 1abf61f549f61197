"""Training with labels."""
