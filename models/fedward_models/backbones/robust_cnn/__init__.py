"""Convolutional networks with the robustness of transformers."""
