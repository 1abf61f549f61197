"""Losses against two targets: their slow twins, known values, and what is alike under exchange."""

from math import exp, log
from typing import Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from fedward_models.losses.two_targets import common_content, contrast, cross_entropy_of_two

Form = Literal["a", "b"]
forms = pytest.mark.parametrize("form", ["a", "b"])


def rows(batch: int, width: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def shares(batch: int, seed: int = 0) -> Tensor:
    return 0.1 + 0.8 * torch.rand(batch, generator=torch.Generator().manual_seed(seed))


def slow_contrast(queries: Tensor, keys: Tensor, own: Tensor, temperature: float, form: Form) -> Tensor:
    batch, losses = len(queries), []
    for i in range(batch):
        similarities = [float(queries[i] @ key / queries[i].norm() / key.norm()) / temperature for key in keys]
        total, w = sum(exp(value) for value in similarities), float(own[i])
        mine, partners = (exp(similarities[j]) / total for j in (i, batch - 1 - i))
        loss = -(w * log(mine) + (1 - w) * log(partners)) if form == "a" else -log(w * mine + (1 - w) * partners)
        losses.append(2 * temperature * loss)
    return torch.tensor(losses)


@forms
@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_the_contrast_equals_its_slow_twin(form: Form, batch: int) -> None:
    queries, keys, own = rows(batch, 6), rows(batch, 6, 1), shares(batch)
    found = contrast(queries, keys, own, temperature=0.3, form=form)
    torch.testing.assert_close(found, slow_contrast(queries, keys, own, 0.3, form), atol=1e-5, rtol=1e-4)


def test_common_content_counts_both_sources() -> None:
    """Check 5: min(l_i, 1-l_j) + min(1-l_i, l_j), the same for both partners."""
    own = shares(9)
    partner = own.flip(0)
    slowly = torch.minimum(own, 1 - partner) + torch.minimum(1 - own, partner)
    torch.testing.assert_close(common_content(own), slowly)
    torch.testing.assert_close(common_content(own), common_content(own).flip(0))


@given(first=st.floats(0, 1), second=st.floats(0, 1))
def test_common_content_lies_between_nothing_and_all(first: float, second: float) -> None:
    found = common_content(torch.tensor([first, second], dtype=torch.float64))
    assert bool(((found >= 0) & (found <= 1)).all())


@pytest.mark.parametrize(
    ("first", "second", "common", "weight"), [(0.3, 0.7, 1, 1 / 2), (0.9, 0.9, 0.2, 5 / 6), (0.1, 0.1, 0.2, 5 / 6)]
)
def test_common_content_at_known_shares(first: float, second: float, common: float, weight: float) -> None:
    """Check 6."""
    found = common_content(torch.tensor([first, second]))
    torch.testing.assert_close(found, torch.full((2,), common).float())
    torch.testing.assert_close(1 / (1 + found), torch.full((2,), weight).float())


@pytest.mark.parametrize("own", [0.1, 0.3, 0.5, 0.8])
def test_one_share_for_all_gives_twice_the_smaller_part(own: float) -> None:
    """Check 6, last part."""
    torch.testing.assert_close(common_content(torch.full((4,), own)), torch.full((4,), 2 * min(own, 1 - own)))


def test_mixed_weights_have_the_derived_range_and_mean() -> None:
    """The partner's weight lies in [1/6, 1/2], its mean is 0.416, and that of the common content 0.733."""
    common = common_content(shares(200_000))
    partner = common / (1 + common)
    assert float(common.mean()) == pytest.approx(0.733, abs=0.002)
    assert float(partner.mean()) == pytest.approx(0.416, abs=0.002)
    assert float(partner.min()) >= 1 / 6 - 1e-6
    assert float(partner.max()) <= 1 / 2


@forms
def test_reversing_the_batch_leaves_the_loss(form: Form) -> None:
    """Check 7, first part."""
    queries, keys, own = rows(6, 4), rows(6, 4, 1), shares(6)
    there = contrast(queries, keys, own, temperature=0.2, form=form)
    back = contrast(queries.flip(0), keys.flip(0), own.flip(0), temperature=0.2, form=form)
    torch.testing.assert_close(there, back.flip(0))


@forms
def test_exchanging_both_sources_with_their_shares_leaves_the_loss(form: Form) -> None:
    """Check 7, second part: the targets change places, and the weights with them."""
    queries, keys, own = rows(6, 4), rows(6, 4, 1), shares(6)
    there = contrast(queries, keys, own, temperature=0.2, form=form)
    back = contrast(queries, keys.flip(0), 1 - own, temperature=0.2, form=form)
    torch.testing.assert_close(there, back)


@forms
def test_without_mixing_both_terms_are_the_clean_contrast(form: Form) -> None:
    """Check 8: share 1 for all; the common content is then 0, and the weights 1 and 0."""
    queries, keys, own = rows(6, 4), rows(6, 4, 1), torch.ones(6)
    assert not common_content(own).any()
    clean = 0.4 * functional.cross_entropy(
        functional.normalize(queries, dim=1) @ functional.normalize(keys, dim=1).T / 0.2,
        torch.arange(6),
        reduction="none",
    )
    torch.testing.assert_close(contrast(queries, keys, own, temperature=0.2, form=form), clean)
    weight = 1 / (1 + common_content(own))
    torch.testing.assert_close(contrast(queries, keys, weight, temperature=0.2, form=form), clean)


@forms
@pytest.mark.parametrize(("batch", "value"), [(8, 0.8318), (1024, 2.7726)])
def test_equal_similarities_cost_the_logarithm_of_the_keys(form: Form, batch: int, value: float) -> None:
    """Check 9: 2 tau ln N."""
    same = torch.ones(batch, 3)
    for own in (torch.ones(batch), shares(batch)):
        found = contrast(same, same, own, temperature=0.2, form=form)
        torch.testing.assert_close(found, torch.full((batch,), value), atol=1e-4, rtol=0)


def test_orthonormal_keys_cost_what_was_derived() -> None:
    """Check 10."""
    keys, half = torch.eye(64), torch.full((64,), 0.5)
    assert _mean(keys, keys, torch.ones(64), "a") == pytest.approx(0.14153, abs=1e-5)
    assert _mean(keys, keys, half, "a") == pytest.approx(1.14153, abs=1e-5)
    assert _mean(keys, keys, half, "b") == pytest.approx(0.41610, abs=1e-5)
    between = keys + keys.flip(0)
    assert _mean(between, keys, half, "a") == pytest.approx(0.53472, abs=1e-5)
    assert _mean(between, keys, half, "b") == pytest.approx(0.53472, abs=1e-5)


def _mean(queries: Tensor, keys: Tensor, own: Tensor, form: Form) -> float:
    return float(contrast(queries, keys, own, temperature=0.2, form=form).mean())


@given(batch=st.integers(2, 9), seed=st.integers(0, 99))
def test_form_a_is_a_soft_cross_entropy_and_form_b_is_never_larger(batch: int, seed: int) -> None:
    """Check 11."""
    queries, keys, own = rows(batch, 5, seed), rows(batch, 5, seed + 1), shares(batch, seed)
    similarities = functional.normalize(queries, dim=1) @ functional.normalize(keys, dim=1).T / 0.2
    targets = torch.diag(own) + torch.diag(1 - own).flip(1)
    soft = 0.4 * functional.cross_entropy(similarities, targets, reduction="none")
    a, b = (contrast(queries, keys, own, temperature=0.2, form=form) for form in ("a", "b"))
    torch.testing.assert_close(a, soft, atol=1e-5, rtol=1e-5)
    assert bool((b <= a + 1e-6).all())


def test_both_forms_agree_where_both_targets_are_as_likely() -> None:
    """Check 11, last part."""
    keys, own = rows(4, 6), shares(4)
    queries = functional.normalize(keys, dim=1) + functional.normalize(keys, dim=1).flip(0)
    a, b = (contrast(queries, keys, own, temperature=0.2, form=form) for form in ("a", "b"))
    torch.testing.assert_close(a, b)


@forms
def test_unlikely_targets_cost_a_finite_loss_with_a_finite_gradient(form: Form) -> None:
    """Check 12: similarities of up to 1e4 either way, where probabilities are zero in single precision."""
    queries = rows(6, 4).requires_grad_()
    loss = contrast(queries, rows(6, 4, 1), shares(6), temperature=1e-4, form=form).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert bool(torch.isfinite(loss))
    assert queries.grad is not None
    assert bool(torch.isfinite(queries.grad).all())


def test_keys_get_no_gradient() -> None:
    keys = rows(4, 3, 1).requires_grad_()
    queries = rows(4, 3).requires_grad_()
    contrast(queries, keys, shares(4), temperature=0.2).sum().backward()  # type: ignore[no-untyped-call]
    assert keys.grad is None
    assert queries.grad is not None


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_cross_entropy_equals_its_slow_twin(batch: int) -> None:
    student, teacher, own = rows(batch, 7), rows(batch, 7, 1), shares(batch)
    found = cross_entropy_of_two(student, teacher.clone().requires_grad_(), own)
    slowly = []
    for i in range(batch):
        log_student = student[i].log_softmax(dim=0)
        mine, partners = (-float(teacher[j].softmax(dim=0) @ log_student) for j in (i, batch - 1 - i))
        slowly.append(float(own[i]) * mine + (1 - float(own[i])) * partners)
    assert not found.requires_grad
    torch.testing.assert_close(found, torch.tensor(slowly))
