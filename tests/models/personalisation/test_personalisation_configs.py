"""The settings of personalisations: the ramp of the private share, and what contradicts itself."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedward_core.spec import Stage
from fedward_models.personalisation.config import (
    ChannelDecouplingConfig,
    FedPerConfig,
    LGFedAvgConfig,
    LocalOnlyConfig,
)


def test_the_share_grows_linearly_over_half_of_the_rounds() -> None:
    config = ChannelDecouplingConfig(private=0.5)
    shares = [config.share_at(round_, 10) for round_ in range(10)]
    assert shares == [Fraction(n, 10) for n in (0, 1, 2, 3, 4, 5, 5, 5, 5, 5)]


def test_half_of_an_odd_number_of_rounds_is_no_whole_number() -> None:
    config = ChannelDecouplingConfig(private=0.5)
    assert [config.share_at(round_, 5) for round_ in range(5)] == [
        Fraction(0),
        Fraction(1, 5),
        Fraction(2, 5),
        Fraction(1, 2),
        Fraction(1, 2),
    ]


@given(
    private=st.floats(0.01, 1),
    rounds=st.integers(1, 200),
    ramp=st.one_of(st.none(), st.integers(0, 250)),
)
def test_the_share_starts_at_nothing_never_falls_and_ends_at_the_setting(
    private: float, rounds: int, ramp: int | None
) -> None:
    config = ChannelDecouplingConfig(private=private, ramp_rounds=ramp)
    end = rounds if ramp is None else ramp
    shares = [config.share_at(round_, rounds) for round_ in range(end + 3)]
    assert shares == sorted(shares)
    assert shares[0] == (Fraction(str(private)) if ramp == 0 else 0)
    assert shares[-1] == Fraction(str(private))
    if ramp:
        assert shares[ramp] == Fraction(str(private))
        assert shares[ramp - 1] < Fraction(str(private))


@pytest.mark.parametrize(("rounds", "ramp"), [(1, None), (10, 10), (10, 400)])
def test_a_stage_that_is_over_before_its_ramp_is_refused(rounds: int, ramp: int | None) -> None:
    """No round of it would have the private share that was asked for."""
    stage = {"name": "only", "method": "supervised", "backbone": "small_cnn", "rounds": rounds}
    decoupled = {"name": "channel_decoupling", "ramp_rounds": ramp}
    with pytest.raises(ValidationError, match=f"its {rounds} rounds are over at a private share of"):
        Stage.model_validate({**stage, "personalise": decoupled})
    assert Stage.model_validate({**stage, "personalise": {**decoupled, "ramp_rounds": rounds - 1}})


def test_without_a_ramp_the_whole_share_is_private_from_the_first_round_on() -> None:
    assert ChannelDecouplingConfig(private=0.25, ramp_rounds=0).share_at(0, 40) == Fraction(1, 4)


def test_a_tenth_is_a_tenth() -> None:
    """The nearest binary number is a little more, and would round other channels."""
    assert ChannelDecouplingConfig(private=0.1, ramp_rounds=0).share_at(0, 1) == Fraction(1, 10)


def test_simple_personalisations_have_no_ramp() -> None:
    assert FedPerConfig().share_at(7, 10) == 0
    assert LGFedAvgConfig().share_at(7, 10) == 0
    assert LocalOnlyConfig().share_at(0, 10) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"distillation": 0, "detach_teacher": True},
        {"distillation": 0, "temperature": 2},
        {"private": 0, "ramp_rounds": 3},
        {"private": 1.1},
        {"temperature": 0},
        {"coupling": "columns"},
        {"temporal_averaging": None, "averaging_ramp": False},
        {"temporal_averaging": None, "averaging_scope": "private"},
        {"temporal_averaging": 1.5},
        {"private": 0, "averaging_scope": "private"},
        {"norms": "shared"},
    ],
)
def test_settings_without_effect_or_meaning_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChannelDecouplingConfig(**settings)
