import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedward_core.config import Config
from fedward_core.errors import DivergedError, SpecError
from fedward_core.seeds import derive_seed
from fedward_core.spec import Local, Schedule
from fedward_models.batch import Batch
from fedward_models.method import Method
from fedward_models.step import Clock, StepOutput
from fedward_models.training.config import AdamWConfig, SGDConfig
from fedward_models.training.fit import FitReport, fit
from fedward_models.training.optimizer_state import OptimizerState
from fedward_models.training.phase import Phase
from fedward_models.training.terms import LocalTerm

CPU = torch.device("cpu")
ROUNDS, EPOCHS = 3, 2
COSINE = Schedule(shape="cosine", warmup_rounds=1)
MakeLoader = Callable[..., Any]
MakeMethod = Callable[[], Method]


def train(
    method: Method, loader: Any, *phases: Phase, round_: int = 0, seed: int = 0, state: OptimizerState | None = None
) -> FitReport:
    return fit(method, loader, phases, round_=round_, rounds=ROUNDS, seed=seed, state=state, device=CPU)


def train_in_rounds(method: Method, loader: Any, phase: Phase, *, keep: bool = True) -> FitReport:
    state = None
    for round_ in range(ROUNDS):
        report = train(method, loader, phase, round_=round_, seed=derive_seed(7, round_), state=state)
        state = report.state if keep else None
    return report


def train_plainly(method: Method, loader: Any, optimizer: torch.optim.Optimizer, peak: float) -> None:
    """The same training without rounds: one loop, one optimiser, the rate written out."""
    method.train()
    done, total = 0, ROUNDS * EPOCHS * loader.num_steps
    warmup = total // ROUNDS
    for index in range(ROUNDS * EPOCHS):
        seed, epoch = derive_seed(7, index // EPOCHS), index % EPOCHS
        for batch in loader.epoch(derive_seed(seed, 0, epoch)):
            torch.manual_seed(batch.seed)
            loss = method.training_step(batch, Clock()).loss
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            falling = 0.5 * (1 + math.cos(math.pi * (done - warmup) / (total - warmup)))
            for group in optimizer.param_groups:
                group["lr"] = peak * done / warmup if done < warmup else peak * falling
            optimizer.step()
            done += 1


def plain_adamw(method: Method) -> torch.optim.Optimizer:
    spares = {"backbone.cls_token", "backbone.pos_embed"}
    named = dict(method.named_parameters())
    decayed = {"params": [p for n, p in named.items() if p.ndim > 1 and n not in spares], "weight_decay": 0.05}
    spared = {"params": [p for n, p in named.items() if p.ndim <= 1 or n in spares], "weight_decay": 0.0}
    return torch.optim.AdamW([decayed, spared], fused=True)


def plain_sgd(method: Method) -> torch.optim.Optimizer:
    return torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.5)


@pytest.mark.parametrize(
    ("config", "plain"), [(AdamWConfig(lr=0.01), plain_adamw), (SGDConfig(lr=0.1), plain_sgd)], ids=["adamw", "sgd"]
)
def test_training_in_rounds_with_kept_state_equals_one_plain_loop(
    config: Config,
    plain: Callable[[Method], torch.optim.Optimizer],
    make_loader: MakeLoader,
    make_method: MakeMethod,
) -> None:
    ours, theirs, loader = make_method(), make_method(), make_loader(16)  # four steps: the clock's fractions are exact
    phase = Phase(local=Local(epochs=EPOCHS, optimizer=config, schedule=COSINE))
    train_in_rounds(ours, loader, phase)
    with torch.random.fork_rng(devices=[]):
        train_plainly(theirs, loader, plain(theirs), peak=phase.local.optimizer.lr)  # type: ignore[attr-defined]
    assert same(ours, theirs)


def test_training_without_kept_state_takes_another_way(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    kept, reset, phase = make_method(), make_method(), Phase(local=Local(optimizer=AdamWConfig(lr=0.01)))
    train_in_rounds(kept, make_loader(), phase)
    train_in_rounds(reset, make_loader(), phase, keep=False)
    assert not same(kept, reset)


@pytest.mark.parametrize(("keep", "rounds"), [(True, ROUNDS), (False, 1)])
def test_steps_are_counted_over_all_rounds_if_state_is_kept(
    keep: bool, rounds: int, make_loader: MakeLoader, make_method: MakeMethod
) -> None:
    loader = make_loader()
    report = train_in_rounds(make_method(), loader, Phase(local=Local(epochs=EPOCHS)), keep=keep)
    steps = report.state.facts["phases"][0]["steps"]
    assert set(steps.values()) == {rounds * EPOCHS * loader.num_steps}
    assert report.num_steps == EPOCHS * loader.num_steps


def test_the_same_seed_gives_the_same_bits_and_another_gives_others(
    make_loader: MakeLoader, make_method: MakeMethod
) -> None:
    first, again, other = make_method(), make_method(), make_method()
    train(first, make_loader(), Phase(local=Local()), seed=1)
    torch.rand(5)
    train(again, make_loader(), Phase(local=Local()), seed=1)
    train(other, make_loader(), Phase(local=Local()), seed=2)
    assert same(first, again)
    assert not same(first, other)


def test_every_parameter_moves_once_the_rate_is_above_zero(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    method, before = make_method(), make_method().state_dict()
    phase = Phase(local=Local(schedule=COSINE))
    train(method, make_loader(4), phase, round_=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.state_dict().items())
    train(method, make_loader(4), phase, round_=1)
    still = [name for name, tensor in method.state_dict().items() if torch.equal(tensor, before[name])]
    assert not [name for name in still if "blocks.1" not in name]  # that block may have been skipped


def test_what_a_phase_does_not_train_stands_still_without_gradient(
    make_loader: MakeLoader, make_method: MakeMethod
) -> None:
    method, before, seen = make_method(), make_method().state_dict(), []
    spy_on(method, "after_backward", lambda m: seen.append([n for n, p in m.named_parameters() if p.grad is not None]))
    train(method, make_loader(), Phase(local=Local(), trainable=r"head\..*"))
    moved = {name for name, tensor in method.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {"head.weight", "head.bias"}
    assert seen == [["head.weight", "head.bias"]] * 3


def test_phases_run_one_after_the_other_with_their_own_optimisers(
    make_loader: MakeLoader, make_method: MakeMethod
) -> None:
    together, apart, loader = make_method(), make_method(), make_loader()
    head = Phase(local=Local(optimizer=SGDConfig(lr=0.1)), trainable=r"head\..*")
    body = Phase(local=Local(optimizer=AdamWConfig(lr=0.01)), trainable=r"backbone\..*")
    report = train(together, loader, head, body)
    train(apart, loader, head)
    assert [phase["optimizer"] for phase in report.state.facts["phases"]] == ["SGD", "AdamW"]
    assert report.num_steps == 2 * loader.num_steps
    assert same(together.get_submodule("head"), apart.get_submodule("head"))
    assert not same(together.backbone, apart.backbone)


def test_nothing_to_train_is_an_error(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    with pytest.raises(SpecError, match="nothing to train"):
        train(make_method(), make_loader(), Phase(local=Local(), trainable="tail"))


def test_mixed_precision_without_a_gpu_is_an_error(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    with pytest.raises(SpecError, match="needs a GPU"):
        train(make_method(), make_loader(), Phase(local=Local(precision="mixed")))


def test_a_loss_that_is_not_finite_ends_training_and_names_the_step(
    make_loader: MakeLoader, make_method: MakeMethod
) -> None:
    class Poisoned(type(make_loader())):  # type: ignore[misc]
        def epoch(self, seed: int) -> Iterator[Batch]:
            for step, batch in enumerate(super().epoch(seed)):
                yield replace(batch, images=batch.images * math.nan) if step == 1 else batch

    loader = make_loader()
    poisoned = Poisoned(images=loader.images, labels=loader.labels, patients=loader.patients)
    with pytest.raises(DivergedError, match="round 3, local epoch 1, step 2:"):
        train(make_method(), poisoned, Phase(local=Local()), round_=2)


def test_weights_that_are_not_finite_after_the_last_step_are_an_error(
    make_loader: MakeLoader, make_method: MakeMethod
) -> None:
    with pytest.raises(DivergedError, match="after the last step of round 1"):
        train(make_method(), make_loader(4), Phase(local=Local(optimizer=SGDConfig(lr=1e38, weight_decay=1e6))))


def test_training_leaves_threads_modes_random_numbers_and_gradients_as_they_were(
    make_loader: MakeLoader, make_method: MakeMethod
) -> None:
    method = make_method().eval()
    method.get_parameter("backbone.cls_token").requires_grad_(False)
    random, threads = torch.get_rng_state(), torch.get_num_threads()
    train(method, make_loader(), Phase(local=Local(threads=threads + 1)))
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == threads
    assert not any(module.training for module in method.modules())
    assert [n for n, p in method.named_parameters() if not p.requires_grad] == ["backbone.cls_token"]
    assert all(parameter.grad is None for parameter in method.parameters())


def test_clipping_bounds_the_step(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    method, before = make_method(), make_method()
    phase = Phase(local=Local(optimizer=SGDConfig(lr=1.0, momentum=0.0), clip_norm=0.001))
    train(method, make_loader(4), phase)
    moved = [(p - q).flatten() for p, q in zip(method.parameters(), before.parameters(), strict=True)]
    assert torch.cat(moved).norm().item() == pytest.approx(0.001, rel=1e-3)


def test_what_terms_make_of_gradients_is_clipped_too(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    method, before = make_method(), make_method()
    phase = Phase(
        local=Local(optimizer=SGDConfig(lr=1.0, momentum=0.0), clip_norm=0.001), terms=(Steeper(factor=1000.0),)
    )
    train(method, make_loader(4), phase)
    moved = [(p - q).flatten() for p, q in zip(method.parameters(), before.parameters(), strict=True)]
    assert torch.cat(moved).norm().item() == pytest.approx(0.001, rel=1e-3)


def test_every_step_draws_anew_and_the_same_seed_draws_the_same(
    make_loader: MakeLoader, make_method: MakeMethod
) -> None:
    def drawn(seed: int) -> list[float]:
        method, found = make_method(), list[float]()

        def prepare(batch: Batch, rng: torch.Generator) -> Batch:
            found.append(torch.rand((), generator=rng).item())
            return batch

        method.prepare = prepare  # type: ignore[method-assign]
        train(method, make_loader(), Phase(local=Local(epochs=EPOCHS)), Phase(local=Local()), seed=seed)
        return found

    first = drawn(1)
    assert len(first) == len(set(first)) == (EPOCHS + 1) * 3
    assert drawn(1) == first
    assert not set(drawn(2)) & set(first)


def test_every_epoch_has_an_order_of_its_own(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    loader, seeds = make_loader(), list[int]()

    class Watched(type(loader)):  # type: ignore[misc]
        def epoch(self, seed: int) -> Iterator[Batch]:
            seeds.append(seed)
            yield from super().epoch(seed)

    train(make_method(), Watched(**vars(loader)), Phase(local=Local(epochs=EPOCHS)), Phase(local=Local()))
    assert len(seeds) == len(set(seeds)) == EPOCHS + 1


def test_a_step_keeps_its_order(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    method, told = make_method(), []
    hooks = ("prepare", "before_step", "training_step", "after_backward", "after_step")
    for hook in hooks:
        spy_on(method, hook, partial(lambda name, _: told.append(name), hook))
    train(method, make_loader(4), Phase(local=Local(), terms=(Told(told),)))
    assert told == ["begin", *hooks[:3], "term", hooks[3], "gradient", "moved", hooks[4], "epoch", "end"]


def test_the_clock_is_told_after_every_step_with_the_loss(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    told: list[tuple[Clock, float]] = []
    report = fit(
        make_method(),
        make_loader(),
        (Phase(local=Local(epochs=2)),),
        round_=1,
        rounds=ROUNDS,
        seed=0,
        device=CPU,
        after_step=lambda clock, loss: told.append((clock, loss)),
    )
    assert [(clock.epoch, clock.step) for clock, _ in told] == [(e, s) for e in range(2) for s in range(3)]
    assert [clock.position for clock, _ in told] == pytest.approx([1 + step / 6 for step in range(6)])
    assert report.figures["loss"] == pytest.approx(sum(loss for _, loss in told) / len(told))


def test_figures_are_means_over_the_steps_that_had_them(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    method = make_method()
    step = method.training_step

    def with_figures(batch: Batch, clock: Clock) -> StepOutput:
        figures = {"even": torch.tensor(float(clock.step))} if clock.step % 2 == 0 else {}
        return StepOutput(loss=step(batch, clock).loss, figures=figures)

    method.training_step = with_figures  # type: ignore[method-assign]
    figures = train(method, make_loader(20), Phase(local=Local())).figures
    assert list(figures) == ["loss", "even"]
    assert figures["even"] == 2.0  # steps 0, 2 and 4


def test_local_training_lowers_the_loss(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    method, phase = make_method(), Phase(local=Local(epochs=30, optimizer=AdamWConfig(lr=0.01)))
    first = train(method, make_loader(), phase).figures["loss"]
    assert train(method, make_loader(), phase).figures["loss"] < first


@pytest.mark.gpu
def test_mixed_precision_trains_on_a_gpu(make_loader: MakeLoader, make_method: MakeMethod) -> None:
    method, phase = make_method(), Phase(local=Local(epochs=30, precision="mixed", optimizer=AdamWConfig(lr=0.01)))
    gpu = torch.device("cuda")
    first = fit(method, make_loader(), (phase,), round_=0, rounds=1, seed=0, device=gpu)
    second = fit(method, make_loader(), (phase,), round_=0, rounds=1, seed=0, device=gpu, state=first.state)
    assert second.figures["loss"] < first.figures["loss"]
    assert all(parameter.dtype is torch.float32 for parameter in method.parameters())


class Told(LocalTerm):
    """A term that notes when it is asked, and adds nothing."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def begin(self, method: Method) -> None:
        self.told.append("begin")

    def loss(self, method: Method, batch: Batch, output: StepOutput) -> Tensor:
        self.told.append("term")
        return torch.zeros(())

    def after_backward(self, method: Method) -> None:
        self.told.append("gradient")

    def after_step(self, method: Method) -> None:
        self.told.append("moved")

    def after_epoch(self, method: Method) -> None:
        self.told.append("epoch")

    def end(self, method: Method) -> None:
        self.told.append("end")


class Steeper(LocalTerm):
    """A term that makes gradients steeper."""

    def __init__(self, *, factor: float) -> None:
        self.factor = factor

    def after_backward(self, method: Method) -> None:
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(self.factor)


def spy_on(method: Method, hook: str, look: Callable[[Method], object]) -> None:
    """Look at the method whenever one of its hooks is called."""
    original = getattr(method, hook)

    def call(*arguments: Any) -> Any:
        look(method)
        return original(*arguments)

    setattr(method, hook, call)


def same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(ours, theirs) for ours, theirs in pairs)
