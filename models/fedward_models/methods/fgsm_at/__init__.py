"""Training against perturbed pixels, quick and without catastrophic overfitting."""
