"""The loss of hidden patches' tokens against its slow twin."""

from math import exp, log

import pytest
import torch
from torch import Tensor

from fedward_models.losses.masked_tokens import masked_token_losses, mean_of_each_image


def losses_slowly(logits: Tensor, tokens: Tensor, hidden: Tensor) -> list[list[float]]:
    """For each image, the negative log of the true token's softmax at each hidden patch."""
    rows, place = [], 0
    for image in range(len(hidden)):
        row = []
        for patch in range(hidden.shape[1]):
            if hidden[image, patch]:
                scores = logits[place].tolist()
                row.append(log(sum(exp(score) for score in scores)) - scores[int(tokens[image, patch])])
                place += 1
        rows.append(row)
    return rows


@pytest.mark.parametrize("counts", [[1], [3, 1], [2, 0, 5]])
def test_losses_and_means_agree_with_the_slow_twin(counts: list[int]) -> None:
    hidden = torch.stack([torch.randperm(6) < count for count in counts])
    logits, tokens = torch.randn(int(hidden.sum()), 4), torch.randint(4, hidden.shape)
    slow = losses_slowly(logits, tokens, hidden)
    losses = masked_token_losses(logits, tokens, hidden)
    torch.testing.assert_close(losses, torch.tensor([loss for row in slow for loss in row]))
    means = [sum(row) / len(row) if row else 0.0 for row in slow]
    torch.testing.assert_close(mean_of_each_image(losses, hidden), torch.tensor(means))


def test_a_sure_and_right_prediction_costs_nothing() -> None:
    hidden, tokens = torch.tensor([[True, False, True]]), torch.tensor([[2, 0, 1]])
    logits = 100.0 * torch.nn.functional.one_hot(tokens[hidden], 3)
    assert masked_token_losses(logits, tokens, hidden).tolist() == [0.0, 0.0]
