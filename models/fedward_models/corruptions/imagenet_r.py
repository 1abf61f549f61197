"""Renditions of 200 classes of ImageNet (Hendrycks et al., ICCV 2021), among which a network of 1000 answers."""

from importlib.resources import files

import torch
from torch import Tensor


def imagenet_r_classes() -> Tensor:
    """The 200 class numbers in the order of their synsets, ascending, as timm lists them."""
    listed = (files("timm.data") / "_info" / "imagenet_r_indices.txt").read_text(encoding="utf-8")
    return torch.tensor([int(line) for line in listed.split()])


def among(logits: Tensor, classes: Tensor) -> Tensor:
    """(B, K) logits of the listed classes only: (B, len(classes))."""
    return logits.index_select(1, classes.to(logits.device))
