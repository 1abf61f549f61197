"""Heads: the published numbers of parameters, and what prototypes cannot see."""

import torch
from torch import nn

from fedward_models.layers.projection_heads import PrototypeHead, normed_head


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_heads_have_the_published_numbers_of_parameters() -> None:
    """SDMP's check 14: projectors beside ViT-S, ViT-B and ResNet-50, and the predictor, with and without last norm."""
    with torch.device("meta"):
        assert num_parameters(normed_head(384, 4096, 4096, 256)) == 19_415_040
        assert num_parameters(normed_head(768, 4096, 4096, 256)) == 20_987_904
        assert num_parameters(normed_head(2048, 4096, 256)) == 9_445_376
        assert num_parameters(normed_head(256, 4096, 256)) == 2_105_344
        assert num_parameters(normed_head(256, 4096, 256, last_norm=False)) == 2_105_344


def test_hidden_layers_are_normed_and_the_last_one_too_unless_told_otherwise() -> None:
    kinds = [type(layer).__name__ for layer in normed_head(4, 5, 6, 2)]
    hidden = ["Linear", "BatchNorm1d", "ReLU"]
    assert kinds == [*hidden, *hidden, "Linear", "BatchNorm1d"]
    assert [type(layer).__name__ for layer in normed_head(4, 5, 2, last_norm=False)] == [*hidden, "Linear"]


def test_the_length_of_a_prototype_does_not_matter() -> None:
    head = PrototypeHead(features=4, hidden=6, bottleneck=3, prototypes=5)
    before = head(torch.randn(2, 4, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        head.prototypes.mul_(7)
    after = head(torch.randn(2, 4, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(before, after)
    assert float(before.detach().abs().max()) <= 1 + 1e-6
