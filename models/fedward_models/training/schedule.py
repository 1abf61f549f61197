"""The learning rate at every step of a stage."""

import math
from collections.abc import Callable

from fedward_core.spec import Schedule
from fedward_models.step import Clock


def learning_rate(schedule: Schedule, *, peak: float, clock: Clock) -> float:
    """The rate before layer-wise scaling.

    A line from 0 to the peak over the warm-up, then the peak, or a half cosine from it to the final rate at the end of
    the last round. The position is counted in rounds with their fraction, so that sites of different size are at the
    same point (SSL-FL, Yan et al., IEEE TMI 2023, released Fed-MAE code; MAE, He et al., CVPR 2022).

    Args:
        schedule: Shape, warm-up and final rate.
        peak: The optimiser's rate.
        clock: Where training stands.
    """
    other = _SHAPES.get(schedule.shape)
    if other is not None:
        return other(schedule, peak, clock)
    warmup = schedule.warmup_rounds
    if clock.position < warmup:
        return peak * clock.position / warmup
    if schedule.shape == "constant":
        return peak
    passed = (clock.position - warmup) / (clock.rounds - warmup)
    return _half_cosine(peak, schedule.final_lr, passed)


def _half_cosine(first: float, last: float, passed: float) -> float:
    """From one rate to another as half a cosine; ``passed`` is the part of the way, in [0, 1]."""
    return last + (first - last) * 0.5 * (1 + math.cos(math.pi * passed))


def _table_entry(schedule: Schedule, peak: float, clock: Clock) -> float:
    """The entry of this step in the tables of BEiT (Bao et al., ICLR 2022), as Fed-BEiT means to read them.

    The released Fed-BEiT reads the table by parameter group instead of by step, a defect that is not followed.
    """
    steps_of_round = clock.epochs * clock.steps
    step = (clock.round * clock.epochs + clock.epoch) * clock.steps + clock.step
    warmup = int(schedule.warmup_rounds * steps_of_round)
    if step < warmup:
        return peak * step / max(warmup - 1, 1)
    passed = (step - warmup) / (clock.rounds * steps_of_round - warmup)
    return _half_cosine(peak, schedule.final_lr, passed)


def _cosine_epochs(schedule: Schedule, peak: float, clock: Clock) -> float:
    """DeiT's rate (Touvron et al., ICML 2021, released code): constant within an epoch, with a clock for both parts."""
    epoch, epochs = clock.round * clock.epochs + clock.epoch, clock.rounds * clock.epochs
    warmup = schedule.warmup_rounds * clock.epochs
    if epoch < warmup:
        return schedule.first_lr + (peak - schedule.first_lr) * epoch / warmup
    return schedule.final_lr + (peak - schedule.final_lr) * 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def _cyclic(schedule: Schedule, peak: float, clock: Clock) -> float:
    """A triangle over the whole stage (Wong et al., ICLR 2020; Andriushchenko and Flammarion, NeurIPS 2020).

    One for all rounds: a peak in each would invite catastrophic overfitting in each.
    Differs: the latter's code rounds the place of the peak down to a whole epoch.
    """
    passed = clock.position / clock.rounds
    return peak * min(passed / schedule.peak_at, (1 - passed) / (1 - schedule.peak_at))


def _piecewise(schedule: Schedule, peak: float, clock: Clock) -> float:  # noqa: ARG001 - the family's signature
    """A tenth from half of the rounds on, a hundredth from three quarters (Andriushchenko and Flammarion, 2020)."""
    passed = clock.position / clock.rounds
    return peak * (1.0 if passed < 0.5 else 0.1 if passed < 0.75 else 0.01)


_SHAPES: dict[str, Callable[[Schedule, float, Clock], float]] = {
    "cosine_table": _table_entry,
    "cosine_epochs": _cosine_epochs,
    "cyclic": _cyclic,
    "piecewise": _piecewise,
}
