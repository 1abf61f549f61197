"""Two workers with half of every batch each compute what one computes on the whole batch."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, multiprocessing, nn

from fedward_core.cards import Contract
from fedward_core.errors import SpecError
from fedward_core.spec import Local
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.data.batches.share import Share
from fedward_models.methods.evp.config import EVPConfig
from fedward_models.methods.evp.evp import EVP
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase
from fedward_models.training.workers import average_gradients, joined_share

PATIENCE = timedelta(seconds=120)


class Batches:
    """Three batches of four images, of which a worker is given its share."""

    num_examples, num_steps = 12, 3

    def epoch(self, seed: int) -> Iterator[Batch]:
        rng, share = torch.Generator().manual_seed(seed % 2**32), joined_share()
        for step in range(self.num_steps):
            images, labels = torch.randn(4, 1, 16, 16, generator=rng), torch.randint(3, (4,), generator=rng)
            yield Batch(images=share.of(images), labels=share.of(labels), seed=share.own_seed(step))


def trained(**settings: Any) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Weights and figures after two epochs."""
    torch.set_num_threads(1)
    with seeded(1):
        backbone = SmallCNNConfig.model_validate({"widths": [4], "hidden": [8], "norm": "none", **settings}).build(
            image_px=16, channels=1
        )
        method = SupervisedConfig().build(backbone=backbone, contract=Contract(classes=("a", "b", "c")))
        assert isinstance(method, Supervised)
        nn.init.normal_(method.head.get_parameter("weight"), std=0.3)
    local = Local.model_validate({"epochs": 2, "optimizer": {"name": "sgd", "lr": 0.1}, "clip_norm": 1.0})
    phases = (Phase(local=local),)
    report = fit(method, Batches(), phases, round_=0, rounds=1, seed=5, device=torch.device("cpu"))
    return method.state_dict(), report.figures


def prompted() -> Tensor:
    """A border of pixels after three steps, whose length is that of the gradient of the whole canvas."""
    torch.set_num_threads(1)
    with seeded(1):
        backbone = SmallCNNConfig(widths=(4,), hidden=(8,), norm="none").build(image_px=16, channels=1)
        config = EVPConfig(weights="as_built", flip=0.0)
        method = EVP(config, backbone=backbone, contract=Contract(classes=("a", "b", "c")))
    phases = (Phase(local=Local.model_validate({"optimizer": {"name": "sgd", "lr": 1.0, "momentum": 0.0}})),)
    fit(method, Batches(), phases, round_=0, rounds=1, seed=5, device=torch.device("cpu"))
    return method.prompt.border.detach()


def together(task: Callable[[int], Any], folder: Path) -> list[Any]:
    """What two processes, joined as Ray Train joins its workers, return."""
    folder.mkdir(exist_ok=True)
    context = multiprocessing.get_context("fork")  # one thread each, so that nobody waits for a pool of the parent's
    processes = [context.Process(target=_worker, args=(task, index, folder)) for index in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE.total_seconds())
        assert process.exitcode == 0
    return [torch.load(folder / f"{index}.pt", weights_only=True) for index in range(2)]


def _worker(task: Callable[[int], Any], index: int, folder: Path) -> None:
    method = f"file://{folder / 'meeting'}"
    distributed.init_process_group("gloo", init_method=method, rank=index, world_size=2, timeout=PATIENCE)
    torch.save(task(index), folder / f"{index}.pt")
    distributed.destroy_process_group()


def _train(_: int) -> Any:
    return trained()


def _prompt(_: int) -> Any:
    return prompted()


def _train_with_batch_norm(_: int) -> Any:
    return trained(norm="batch")


def _average(index: int) -> list[Tensor | None]:
    both, one, none = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    both.grad = torch.full((2,), float(index))
    one.grad = torch.ones(2) if index else None
    average_gradients((both, one, none))
    return [both.grad, one.grad, none.grad]


def test_two_workers_take_the_steps_of_one_with_the_whole_batch(tmp_path: Path) -> None:
    (first, figures), (second, same_figures) = together(_train, tmp_path / "workers")
    alone, expected = trained()
    assert figures == same_figures
    assert figures["loss"] == pytest.approx(expected["loss"], rel=1e-5)
    for name, tensor in alone.items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], tensor, atol=1e-5, rtol=1e-4)


def test_two_workers_normalise_the_gradient_of_the_whole_batch(tmp_path: Path) -> None:
    first, second = together(_prompt, tmp_path / "workers")
    assert torch.equal(first, second)
    torch.testing.assert_close(first, prompted(), atol=1e-4, rtol=1e-4)


def test_workers_agree_on_every_entry_though_each_norms_its_own_images(tmp_path: Path) -> None:
    (first, _), (second, _) = together(_train_with_batch_norm, tmp_path / "workers")
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_gradients_are_averaged_and_what_nobody_reached_has_none(tmp_path: Path) -> None:
    for gradients in together(_average, tmp_path / "workers"):
        assert gradients[0].tolist() == [0.5, 0.5]
        assert gradients[1].tolist() == [0.5, 0.5]
        assert gradients[2] is None


def test_a_process_of_its_own_is_the_only_worker() -> None:
    assert joined_share() == Share()
    assert Share().own_seed(7) == 7
    assert Share().of(torch.arange(5)).tolist() == [0, 1, 2, 3, 4]


def test_shares_are_disjoint_equally_large_and_draw_their_own() -> None:
    shares = [Share(index=index, count=3) for index in range(3)]
    assert [share.of(torch.arange(7)).tolist() for share in shares] == [[0, 3], [1, 4], [2, 5]]
    assert len({share.own_seed(7) for share in shares}) == 3
    assert shares[0].own_seed(7) == 7


def test_a_batch_smaller_than_its_shares_is_refused() -> None:
    with pytest.raises(SpecError, match="cannot be divided among 3 workers"):
        Share(count=3).check(2)
