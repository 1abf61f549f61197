"""The learning rate at every step of a stage."""

import math

from fedward_core.spec import Schedule
from fedward_models.method import Clock


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
    if schedule.shape == "cosine_table":
        return _table_entry(schedule, peak, clock)
    warmup = schedule.warmup_rounds
    if clock.position < warmup:
        return peak * clock.position / warmup
    if schedule.shape == "constant":
        return peak
    passed = (clock.position - warmup) / (clock.rounds - warmup)
    return schedule.final_lr + (peak - schedule.final_lr) * 0.5 * (1 + math.cos(math.pi * passed))


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
    return schedule.final_lr + (peak - schedule.final_lr) * 0.5 * (1 + math.cos(math.pi * passed))
