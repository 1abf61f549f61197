"""Distillation of a masked autoencoder while the student learns to reconstruct."""
