"""Which voxels a decision came from: contributions of blocks, attention, gradients, and pictures of them."""
