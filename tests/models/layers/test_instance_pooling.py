"""Attention over instances, against the sum written out."""

import pytest
import torch

from fedward_models.layers.instance_pooling import AttentionPooling


@pytest.mark.parametrize("instances", [1, 5])
def test_a_bag_is_the_mean_weighted_by_the_exponentials_of_scores(instances: int) -> None:
    pooling, bag = AttentionPooling(4, hidden=3), torch.randn(2, instances, 4)
    for found, vectors in zip(pooling(bag), bag, strict=True):
        scores = [(pooling.score.weight[0] * (pooling.hidden.weight @ vector).tanh()).sum().exp() for vector in vectors]
        expected = sum(score * vector for score, vector in zip(scores, vectors, strict=True)) / sum(scores)
        torch.testing.assert_close(found, expected)


def test_the_order_of_instances_does_not_matter() -> None:
    pooling, bag = AttentionPooling(4, hidden=3), torch.randn(2, 5, 4)
    torch.testing.assert_close(pooling(bag), pooling(bag.flip(1)))
