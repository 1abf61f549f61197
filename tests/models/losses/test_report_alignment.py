"""The three alignments of images with reports: closed forms, laws, and slow twins."""

from math import exp, log

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from fedward_core.errors import SpecError
from fedward_models.losses.pair_contrast import pair_contrast, retrieval
from fedward_models.losses.prototype_agreement import assignments, prototype_agreement
from fedward_models.losses.token_alignment import place_alignment, token_weights, word_alignment


def directions(*shape: int, seed: int = 0) -> Tensor:
    return functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def collapsed(batch: int, tokens: int) -> Tensor:
    return directions(1, 1, 8).expand(batch, tokens, 8)


def uniform(batch: int, tokens: int) -> Tensor:
    return torch.full((batch, tokens), 1 / tokens)


# Pairs ---------------------------------------------------------------------------------------------------------------


def test_orthonormal_pairs_of_a_batch_of_72_cost_almost_nothing() -> None:
    loss = pair_contrast(torch.eye(72, 128), torch.eye(72, 128), temperature=0.07).mean()
    assert float(loss) == pytest.approx(2 * log(1 + 71 * exp(-1 / 0.07)), abs=2e-6)
    assert float(loss) == pytest.approx(8.9e-5, rel=0.02)


def test_pairs_that_are_all_alike_cost_twice_the_logarithm_of_the_batch() -> None:
    same = directions(1, 16).expand(72, 16)
    assert float(pair_contrast(same, same, temperature=0.07).mean()) == pytest.approx(8.5533, abs=1e-3)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_pair_loss_equals_a_loop(batch: int) -> None:
    images, reports = directions(batch, 6), directions(batch, 6, seed=1)
    for i, found in enumerate(pair_contrast(images, reports, temperature=0.07)):
        rows = [float(images[i] @ reports[j]) / 0.07 for j in range(batch)]
        columns = [float(images[j] @ reports[i]) / 0.07 for j in range(batch)]
        slow = sum(log(sum(exp(value - scores[i]) for value in scores)) for scores in (rows, columns))
        assert float(found) == pytest.approx(slow, abs=1e-5)


def test_the_pair_loss_is_symmetric_and_does_not_see_the_order_of_pairs() -> None:
    images, reports, order = directions(7, 6), directions(7, 6, seed=1), torch.randperm(7)
    loss = pair_contrast(images, reports, temperature=0.07)
    torch.testing.assert_close(pair_contrast(reports, images, temperature=0.07), loss)
    torch.testing.assert_close(pair_contrast(images[order], reports[order], temperature=0.07), loss[order])


def test_retrieval_counts_both_directions() -> None:
    images, reports = torch.eye(3), torch.eye(3)[[0, 2, 1]]
    assert retrieval(images, reports).tolist() == [1, 0, 0]
    assert retrieval(images, images).tolist() == [1, 1, 1]


def test_retrieval_shares_what_ties_leave_open() -> None:
    """Collapsed embeddings would otherwise find everything; of two equal reports each is found half of the time."""
    same = torch.ones(8, 4) / 2
    assert retrieval(same, same).tolist() == [1 / 8] * 8
    assert retrieval(same, same, among=3).tolist() == [3 / 8] * 8
    assert retrieval(torch.eye(3), torch.eye(3)[[0, 1, 1]], among=1).tolist() == pytest.approx([1, 3 / 4, 1 / 6])


# Tokens --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "places", "total"), [(111, 196, 9.9876), (111, 361, 4.7095 + 5.8889)])
def test_collapsed_tokens_cost_the_logarithm_of_their_number(words: int, places: int, total: float) -> None:
    text, image, padding = collapsed(2, words), collapsed(2, places), torch.zeros(2, words, dtype=torch.bool)
    by_word = word_alignment(text, image, uniform(2, words), padding, temperature=0.1)
    by_place = place_alignment(image, text, uniform(2, places), padding, temperature=0.1, norm_contexts=False)
    assert by_word.tolist() == pytest.approx([log(words)] * 2, abs=1e-3)
    assert by_place.tolist() == pytest.approx([log(places)] * 2, abs=1e-3)
    assert float((by_word + by_place).mean()) == pytest.approx(total, abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 9), st.integers(0, 4), st.floats(0.01, 100), st.integers(0, 999))
def test_weights_sum_to_1_spare_padding_and_ignore_scale(known: int, padded: int, scale: float, seed: int) -> None:
    attention = torch.rand(2, known, generator=torch.Generator().manual_seed(seed)) + 0.01
    attention = functional.pad(attention, (0, padded))
    weights = token_weights(attention)
    assert bool((weights >= 0).all())
    assert not weights[:, known:].any()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    torch.testing.assert_close(token_weights(scale * attention), weights)


def test_a_row_without_any_importance_keeps_its_zeros() -> None:
    weights = token_weights(torch.tensor([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0]]))
    assert weights.tolist() == [[0, 0, 0], [0.5, 0.5, 0]]


def test_weights_are_clipped_to_their_quantiles() -> None:
    attention = torch.tensor([[0.9, 0.0, 0.1, 0.2, 0.3]])
    low, high = np.quantile([0.9, 0.1, 0.2, 0.3], [0.1, 0.9])
    clipped = np.array([high, 0, low, 0.2, 0.3])
    assert token_weights(attention)[0].tolist() == pytest.approx((clipped / clipped.sum()).tolist())


def test_the_word_loss_equals_a_loop_over_known_words() -> None:
    words, places, known = directions(1, 5, 6), directions(1, 3, 6, seed=1), 4
    padding = torch.arange(5)[None] >= known
    weights = token_weights(functional.pad(torch.rand(1, known, generator=torch.Generator().manual_seed(2)), (0, 1)))
    contexts = []
    for word in words[0, :known]:
        shares = torch.stack([(word @ place / 0.1).exp() for place in places[0]])
        mixed = sum(share * place for share, place in zip(shares / shares.sum(), places[0], strict=True))
        contexts.append(mixed / mixed.norm())
    slow = 0.0
    for j in range(known):
        rows = torch.stack([words[0, j] @ context / 0.1 for context in contexts])
        columns = torch.stack([words[0, i] @ contexts[j] / 0.1 for i in range(known)])
        slow -= float(weights[0, j] * (rows.log_softmax(0)[j] + columns.log_softmax(0)[j])) / 2
    found = word_alignment(words, places, weights, padding, temperature=0.1)
    assert float(found) == pytest.approx(slow, abs=1e-5)


def token_losses(words: Tensor, places: Tensor, weights: tuple[Tensor, Tensor], padding: Tensor) -> Tensor:
    by_word = word_alignment(words, places, weights[0], padding, temperature=0.1)
    return by_word + place_alignment(places, words, weights[1], padding, temperature=0.1, norm_contexts=False)


def test_what_stands_in_padding_changes_neither_loss_nor_gradient() -> None:
    padding = torch.arange(6)[None].expand(2, 6) >= 4
    weights = token_weights(torch.rand(2, 6).masked_fill(padding, 0)), uniform(2, 5)
    places, found = directions(2, 5, 8, seed=1), []
    for seed in (2, 3):
        words = torch.where(padding[..., None], directions(2, 6, 8, seed=seed), directions(2, 6, 8)).requires_grad_()
        loss = token_losses(words, places, weights, padding)
        (gradient,) = torch.autograd.grad(loss.sum(), words)
        assert not gradient[padding].any()
        found.append((loss.detach(), gradient))
    torch.testing.assert_close(found[0], found[1])


def test_each_pair_stands_for_itself_and_places_have_no_order() -> None:
    words, places, padding = directions(4, 6, 8), directions(4, 5, 8, seed=1), torch.zeros(4, 6, dtype=torch.bool)
    weights = token_weights(torch.rand(4, 6)), token_weights(torch.rand(4, 5))
    loss, order = token_losses(words, places, weights, padding), torch.randperm(5)
    alone = token_losses(words[1:2], places[1:2], (weights[0][1:2], weights[1][1:2]), padding[1:2])
    torch.testing.assert_close(alone, loss[1:2])
    torch.testing.assert_close(token_losses(words, places[:, order], (weights[0], weights[1][:, order]), padding), loss)


# Prototypes ----------------------------------------------------------------------------------------------------------


def slow_sinkhorn(scores: Tensor, *, epsilon: float, rounds: int) -> np.ndarray:
    table = np.exp(scores.double().numpy().T / epsilon)
    table /= table.sum()
    prototypes, samples = table.shape
    for _ in range(rounds):
        table *= (1 / prototypes) / table.sum(axis=1, keepdims=True)
        table *= (1 / samples) / table.sum(axis=0, keepdims=True)
    result: np.ndarray = (table / table.sum(axis=0, keepdims=True)).T
    return result


@pytest.mark.parametrize(("batch", "prototypes"), [(1, 4), (6, 20), (24, 5)])
def test_assignments_equal_sinkhorn_in_double_precision(batch: int, prototypes: int) -> None:
    scores = 2 * torch.rand(batch, prototypes, generator=torch.Generator().manual_seed(0)) - 1
    found = assignments(scores, epsilon=0.05, rounds=3)
    np.testing.assert_allclose(found.numpy(), slow_sinkhorn(scores, epsilon=0.05, rounds=3), atol=1e-5)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(batch), atol=1e-6, rtol=0)
    torch.testing.assert_close(assignments(scores + 0.3, epsilon=0.05, rounds=3), found, atol=1e-4, rtol=0)


def test_assignments_become_balanced_and_are_uniform_for_equal_scores() -> None:
    scores = 0.2 * torch.randn(12, 6, generator=torch.Generator().manual_seed(0))
    balanced = assignments(scores.double(), epsilon=0.05, rounds=50).sum(dim=0)
    torch.testing.assert_close(balanced, torch.full((6,), 2.0, dtype=torch.double), atol=1e-3, rtol=0)
    torch.testing.assert_close(assignments(torch.ones(3, 5), epsilon=0.05, rounds=3), torch.full((3, 5), 0.2))


def test_assignments_take_no_gradient_stay_finite_and_refuse_16_bits() -> None:
    extreme = torch.tensor([[1.0, -1.0], [-1.0, -1.0]], requires_grad=True)
    found = assignments(extreme, epsilon=0.05, rounds=3)
    assert bool(torch.isfinite(found).all())
    assert not found.requires_grad
    with pytest.raises(SpecError, match="need 32 bits, found 16"):
        assignments(extreme.half(), epsilon=0.05, rounds=3)


def agreement(images: Tensor, reports: Tensor) -> Tensor:
    return prototype_agreement(images, reports, temperature=0.2, epsilon=0.05, rounds=3)


def test_equal_scores_cost_the_logarithm_of_the_prototypes_and_the_sides_may_be_swapped() -> None:
    assert agreement(torch.zeros(3, 500), torch.zeros(3, 500)).tolist() == pytest.approx([6.2146] * 3, abs=1e-4)
    images, reports = 2 * torch.rand(4, 9) - 1, 2 * torch.rand(4, 9) - 1
    torch.testing.assert_close(agreement(images, reports), agreement(reports, images))


def test_the_surest_choices_of_500_prototypes_still_cost_the_rest_of_the_softmax() -> None:
    """Each pair has a prototype of its own; a cosine of 1 beside -1 is chosen with 0.9778 at most."""
    scores = 2 * torch.eye(500) - 1
    assert exp(-float(agreement(scores, scores).mean())) == pytest.approx(1 / (1 + 499 * exp(-10)), abs=1e-5)
    assert 1 / (1 + 499 * exp(-10)) == pytest.approx(0.9778, abs=1e-4)
