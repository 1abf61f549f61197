"""Common corruptions of images: what cameras, weather and compression do, in five severities.

Paper: D. Hendrycks, T. Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and Perturbations",
ICLR 2019, https://arxiv.org/abs/1903.12261 (ImageNet-C), whose severities these are.

Differs: everything is drawn from a generator of the caller's, works on tensors of any size and on grey images, and
lengths in pixels, given for images of 224 pixels, grow and shrink with the image. So figures are alike to those on
ImageNet-C, and not equal: compare networks on the same images only.

All functions take and give pixels, (B, C, H, W), float, in [0, 1].
"""
