"""Local training: the only place where anything goes backward.

A centralised run, a site of a federation and every personalisation use this loop. What a step draws is derived from
(seed, phase, epoch, step), so that a run in pieces equals a run in one. Phases are counted for each target by itself:
two models that are trained side by side see the same batches.

    prepare -> before_step -> training_step + terms -> backward -> after_backward -> clip -> rate -> step -> after_step

With ``sam_rho`` training_step to backward run twice: what counts is the gradient at weights moved uphill.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch

from fedward_core.errors import DivergedError
from fedward_core.seeds import derive_seed
from fedward_models.method import Method
from fedward_models.step import Clock
from fedward_models.training.batches import Batches, repeated
from fedward_models.training.ledger import Ledger
from fedward_models.training.optimizer_state import OptimizerState
from fedward_models.training.phase import Phase
from fedward_models.training.surroundings import mode, only_training, own_randomness, threads
from fedward_models.training.trainer import Trainer

AfterStep = Callable[[Clock, float], None]

_REMEDY = "lower the learning rate, warm up for longer, or set clip_norm"


@dataclass(frozen=True, kw_only=True)
class FitReport:
    """What local training gives beside the trained weights, which are in the method.

    Attributes:
        num_steps: Optimiser steps, over all phases.
        figures: Means over the steps, ``loss`` first: the method's loss with all terms.
        state: What the optimisers remember.
    """

    num_steps: int
    figures: dict[str, float]
    state: OptimizerState


def fit(  # noqa: PLR0913 - everything a round knows, each by name
    method: Method,
    loader: Batches,
    phases: tuple[Phase, ...],
    *,
    round_: int,
    rounds: int,
    seed: int,
    device: torch.device,
    state: OptimizerState | None = None,
    after_step: AfterStep | None = None,
) -> FitReport:
    """Train a method in place, phase after phase.

    Global random numbers, threads, modes and ``requires_grad`` are then as before; the method stays on the device.

    Args:
        method: What is trained.
        loader: Batches of one site.
        phases: Run in order, each with an optimiser of its own.
        round_: The round, counted from 0.
        rounds: Rounds of the stage, for the schedule.
        seed: The seed of this site, stage and round.
        device: Where to compute.
        state: What the optimisers remember from the round before; None to start anew.
        after_step: Called with the clock and the loss after every step, which then waits for the device.

    Raises:
        DivergedError: The loss or a weight is not finite.
        SpecError: Nothing to train, or mixed precision without a GPU.
        CheckpointError: ``state`` is another optimiser's.
    """
    run = _Run(
        method=method.to(device),
        loader=loader,
        round=round_,
        rounds=rounds,
        seed=seed,
        device=device,
        after_step=after_step,
    )
    remembered = state.parted(len(phases)) if state else (None,) * len(phases)
    with own_randomness(device), mode(method, training=True):
        for phase in phases:
            for term in phase.terms:
                term.begin(phase.trained(method))
        states = [run.train(phase, _number(phases, index), remembered[index]) for index, phase in enumerate(phases)]
    run.check_weights()
    return FitReport(num_steps=run.ledger.num_steps, figures=run.ledger.means(), state=OptimizerState.joined(states))


def _number(phases: tuple[Phase, ...], index: int) -> int:
    """Which phase of its target a phase is."""
    return sum(phase.target == phases[index].target for phase in phases[:index])


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One call of ``fit``: what its phases have in common."""

    method: Method
    loader: Batches
    round: int
    rounds: int
    seed: int
    device: torch.device
    after_step: AfterStep | None
    ledger: Ledger = field(default_factory=Ledger)

    def train(self, phase: Phase, number: int, before: OptimizerState | None) -> OptimizerState:
        parameters, trained = phase.parameters(self.method), phase.trained(self.method)
        with threads(phase.local.threads), only_training(self.method, parameters.values()):
            trainer = Trainer(trained, phase, parameters, self.device)
            if before:
                before.load_into(trainer.optimizer, parameters, trainer.scaler)
            for epoch in range(phase.local.epochs):
                self._train_epoch(trainer, number, epoch)
                self._check_losses(epoch)
                for term in phase.terms:
                    term.after_epoch(trained)
            for term in phase.terms:
                term.end(trained)
            return OptimizerState.of(trainer.optimizer, parameters, trainer.scaler)

    def _train_epoch(self, trainer: Trainer, phase: int, epoch: int) -> None:
        clock = Clock(round=self.round, rounds=self.rounds, epoch=epoch, epochs=trainer.local.epochs)
        replays = trainer.method.replays
        for step, batch in enumerate(repeated(self.loader.epoch(derive_seed(self.seed, phase, epoch)), replays)):
            now = replace(clock, step=step, steps=self.loader.num_steps * replays)
            loss, figures = trainer.step(batch, now, seed=derive_seed(self.seed, phase, epoch, step))
            self.ledger.add(loss, figures)
            if self.after_step:
                self.after_step(now, float(loss))

    def _check_losses(self, epoch: int) -> None:
        diverged_at = self.ledger.read()
        if diverged_at is not None:
            raise DivergedError(
                f"the loss is not finite in round {self.round + 1}, local epoch {epoch + 1}, step {diverged_at + 1}: "
                f"{_REMEDY}"
            )

    def check_weights(self) -> None:
        if not all(bool(torch.isfinite(parameter).all()) for parameter in self.method.parameters()):
            raise DivergedError(f"a weight is not finite after the last step of round {self.round + 1}: {_REMEDY}")
