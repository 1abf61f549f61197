import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedward_core.spec import Schedule
from fedward_models.step import Clock
from fedward_models.training.schedule import learning_rate

FINETUNING = Schedule(shape="cosine", warmup_rounds=5, final_lr=1e-6)


@pytest.mark.parametrize(
    ("round_", "step", "expected"),
    [
        (0, 0, 0.0),
        (2, 5, 3e-3 * 2.5 / 5),
        (4, 9, 3e-3 * 4.9 / 5),
        (5, 0, 3e-3),
        (52, 5, 1e-6 + (3e-3 - 1e-6) / 2),
        (76, 2, 1e-6 + (3e-3 - 1e-6) * 0.5 * (1 + math.cos(math.pi * 71.2 / 95))),
        (99, 9, 1e-6 + (3e-3 - 1e-6) * 0.5 * (1 + math.cos(math.pi * 94.9 / 95))),
    ],
)
def test_the_rate_follows_the_closed_form(round_: int, step: int, expected: float) -> None:
    clock = Clock(round=round_, rounds=100, step=step, steps=10)
    assert learning_rate(FINETUNING, peak=3e-3, clock=clock) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_a_constant_rate_stays_at_the_peak_after_its_warmup() -> None:
    schedule = Schedule(shape="constant", warmup_rounds=2)
    rates = [learning_rate(schedule, peak=0.4, clock=Clock(round=round_, rounds=5)) for round_ in range(5)]
    assert rates == [0.0, 0.2, 0.4, 0.4, 0.4]


def test_local_epochs_share_the_time_of_their_round() -> None:
    schedule = Schedule(shape="cosine", warmup_rounds=4)
    half = Clock(round=1, rounds=8, epoch=1, epochs=2, step=0, steps=7)
    assert learning_rate(schedule, peak=1.0, clock=half) == pytest.approx(1.5 / 4)


@given(
    warmup=st.floats(0, 6),
    round_=st.integers(0, 5),
    step=st.integers(0, 6),
    final=st.floats(0, 0.1),
)
def test_the_rate_stays_between_nothing_and_the_peak(warmup: float, round_: int, step: int, final: float) -> None:
    schedule = Schedule(shape="cosine", warmup_rounds=warmup, final_lr=final)
    clock = Clock(round=round_, rounds=6, step=step, steps=7)
    assert 0 <= learning_rate(schedule, peak=0.1, clock=clock) <= 0.1 + 1e-12


@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 9))
def test_sites_of_different_size_have_the_same_rate_at_the_start_of_a_round(one: int, other: int, round_: int) -> None:
    rates = [
        learning_rate(FINETUNING, peak=1.0, clock=Clock(round=round_, rounds=10, steps=steps)) for steps in (one, other)
    ]
    assert rates[0] == rates[1]


def test_deits_schedule_holds_its_rate_within_an_epoch_and_counts_the_cosine_from_the_start() -> None:
    schedule = Schedule(shape="cosine_epochs", warmup_rounds=5, first_lr=1e-6, final_lr=1e-5)

    def rate(round_: int, step: int = 0) -> float:
        return learning_rate(schedule, peak=1e-3, clock=Clock(round=round_, rounds=300, step=step, steps=10))

    assert rate(0) == rate(0, 9) == 1e-6
    assert rate(4) == pytest.approx(1e-6 + (1e-3 - 1e-6) * 4 / 5)
    assert rate(5) == pytest.approx(1e-5 + 0.5 * (1e-3 - 1e-5) * (1 + math.cos(5 * math.pi / 300)))
    assert rate(5) == pytest.approx(9.993e-4, abs=5e-8)
    assert rate(300) == 1e-5


def test_every_step_of_every_local_epoch_reads_its_own_entry_of_beits_table() -> None:
    """BEiT (Bao et al., ICLR 2022, released code): the warm-up ends at the peak, and then the cosine begins there."""
    rounds, epochs, steps, peak, final = 4, 2, 3, 2e-3, 1e-5
    warmup, total = 6, rounds * epochs * steps
    cosine = np.cos(np.pi * np.arange(total - warmup) / (total - warmup))
    table = [*np.linspace(0, peak, warmup), *(final + 0.5 * (peak - final) * (1 + cosine))]
    schedule = Schedule(shape="cosine_table", warmup_rounds=1, final_lr=final)
    clocks = [
        Clock(round=round_, rounds=rounds, epoch=epoch, epochs=epochs, step=step, steps=steps)
        for round_, epoch, step in itertools.product(range(rounds), range(epochs), range(steps))
    ]
    assert [learning_rate(schedule, peak=peak, clock=clock) for clock in clocks] == pytest.approx(table, rel=1e-12)


@pytest.mark.parametrize("peak_at", [0.4, 0.5])
def test_one_triangle_spans_all_rounds(peak_at: float) -> None:
    schedule = Schedule(shape="cyclic", peak_at=peak_at)
    steps = [
        learning_rate(schedule, peak=0.2, clock=Clock(round=round_, rounds=10, step=step, steps=100))
        for round_ in range(10)
        for step in range(100)
    ]
    assert steps[0] == 0
    assert max(steps) == steps[round(1000 * peak_at)] == 0.2
    assert learning_rate(schedule, peak=0.2, clock=Clock(round=10, rounds=10)) == 0
    assert sum(steps) / 1000 == pytest.approx(0.2 / 2, rel=1e-9)


def test_a_stepped_rate_falls_at_half_and_at_three_quarters() -> None:
    rates = [
        learning_rate(Schedule(shape="piecewise"), peak=0.2, clock=Clock(round=round_, rounds=8)) for round_ in range(8)
    ]
    assert rates == pytest.approx([0.2] * 4 + [0.02] * 2 + [0.002] * 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"shape": "cyclic", "warmup_rounds": 1},
        {"shape": "piecewise", "final_lr": 0.1},
        {"shape": "cosine", "peak_at": 0.5},
        {"shape": "cosine", "first_lr": 0.1},
    ],
)
def test_a_setting_without_effect_on_a_shape_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no effect"):
        Schedule.model_validate(settings)
