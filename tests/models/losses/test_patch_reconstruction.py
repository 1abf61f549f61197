"""The reconstruction loss against its slow twin, and its laws."""

import pytest
import torch
from torch import Tensor

from fedward_models.losses.patch_reconstruction import patch_reconstruction, patch_statistics


def reconstruction_slowly(predicted: Tensor, target: Tensor, hidden: Tensor) -> list[float]:
    losses = []
    for image in range(len(predicted)):
        errors: list[float] = []
        for patch in range(predicted.shape[1]):
            if hidden[image, patch]:
                values = zip(predicted[image, patch].tolist(), target[image, patch].tolist(), strict=True)
                errors.append(sum((a - b) ** 2 for a, b in values) / predicted.shape[2])
        losses.append(sum(errors) / len(errors))
    return losses


@pytest.mark.parametrize(("batch", "patches", "values"), [(1, 1, 1), (1, 9, 3), (3, 4, 7)])
def test_loss_is_the_mean_over_hidden_patches(batch: int, patches: int, values: int) -> None:
    predicted, target = torch.randn(2, batch, patches, values)
    hidden = torch.rand(batch, patches) < 0.5
    hidden[:, 0] = True
    losses = patch_reconstruction(predicted, target, hidden)
    torch.testing.assert_close(losses, torch.tensor(reconstruction_slowly(predicted, target, hidden)))


def test_visible_patches_change_neither_loss_nor_gradient() -> None:
    predicted, target = torch.randn(2, 2, 6, 4)
    hidden = torch.tensor([True, False, True, False, False, True]).expand(2, -1)
    changed = torch.where(hidden.unsqueeze(-1), predicted, predicted + 100).requires_grad_()
    loss = patch_reconstruction(changed, target, hidden)
    assert torch.equal(loss, patch_reconstruction(predicted, target, hidden))
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert changed.grad is not None
    assert changed.grad[~hidden].count_nonzero() == 0
    assert changed.grad[hidden].count_nonzero() == changed.grad[hidden].numel()


def test_a_perfect_prediction_costs_nothing() -> None:
    target = torch.randn(2, 3, 4)
    assert patch_reconstruction(target, target, torch.ones(2, 3, dtype=torch.bool)).tolist() == [0, 0]


def test_normed_patches_have_mean_nought_and_variance_one() -> None:
    patches = torch.randn(2, 5, 48) * 3 + 7
    mean, deviation = patch_statistics(patches)
    normed = (patches - mean) / deviation
    torch.testing.assert_close(normed.mean(dim=-1), torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(normed.var(dim=-1), torch.ones(2, 5), atol=1e-5, rtol=0)


def test_a_patch_of_one_colour_is_finite() -> None:
    patches = torch.full((1, 1, 12), 0.25)
    mean, deviation = patch_statistics(patches)
    assert ((patches - mean) / deviation).count_nonzero() == 0
