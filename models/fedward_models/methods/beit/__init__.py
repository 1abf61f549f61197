"""Masked prediction of visual tokens: pre-training without labels."""
