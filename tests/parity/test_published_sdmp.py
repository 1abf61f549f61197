"""SDMP computes what the published code computes, and what it was meant to compute where it mixed nothing.

Origin: OliverRensu/SDMP, commit f8ccc93b2b1ab7c50168089cedbf0b0f1b2db734, moco/moco/builder.py, moco/vits.py and
moco/main_moco.py, on timm 0.4.9 and torch 2.15.0, CPU, float32, one process. One expression is changed: the test that
lets the released code mix nothing has its upper bound (rank+1)*bz. Form a replaces the two-target loss by that of the
first release, commit cd26a51. Network: image 16, patch 4, width 24, 2 blocks of 3 heads; hidden 32, features 16; seeds
301 to 303. Beside this file: weights, views, shares, boxes, results and gradients.
Tolerance: mixes and weights 1e-6; losses 1e-5; features 1e-4; gradients 1e-4 of the largest entry of the tensor;
momentum parameters 1e-7; running statistics 1e-5; the schedule 1e-12.
"""

from functools import partial
from pathlib import Path
from typing import Literal

import pytest
import torch
from published import arrays_under, renamed
from safetensors.torch import load_file
from torch import Tensor

from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.losses.two_targets import common_content, contrast
from fedward_models.methods.sdmp.config import SDMPConfig
from fedward_models.methods.sdmp.mixing import mix, shares_outside
from fedward_models.methods.sdmp.sdmp import SDMP
from fedward_models.step import Clock

MIXING, LOSSES, MOMENTUM, STEP = (
    load_file(Path(__file__).with_name(f"sdmp_{part}.safetensors")) for part in ("mixing", "losses", "momentum", "step")
)
# Where each part of the published network is in ours, by the start of its name.
PARTS = {
    "base_encoder.head.": "base.projector.",
    "base_encoder.norm.": "norm.",
    "base_encoder.": "backbone.",
    "momentum_encoder.head.": "momentum.projector.",
    "momentum_encoder.norm.": "momentum.norm.",
    "momentum_encoder.": "momentum.backbone.",
    "predictor.": "base.predictor.",
}
our_name = partial(renamed, PARTS)
Form = Literal["a", "b"]
forms = pytest.mark.parametrize("form", ["a", "b"])
orders = pytest.mark.parametrize("order", ["keep", "swap"])


def build(reference: dict[str, Tensor], form: Form = "a") -> SDMP:
    backbone = ViTConfig(width=24, depth=2, heads=3, patch_px=4).build(image_px=16, channels=3)
    base = {"name": "moco", "hidden": 32, "width": 16, "form": form}
    method = SDMPConfig(base=base).build(backbone=backbone, contract=Contract(classes=("a", "b"), channels=3))
    assert isinstance(method, SDMP)
    state = {our_name(name): tensor for name, tensor in arrays_under(reference, "state/").items()}
    unknown = method.load_state_dict(state, strict=False).unexpected_keys
    assert not unknown
    return method.train()


def assert_near(found: Tensor, expected: Tensor, tolerance: float) -> None:
    torch.testing.assert_close(found, expected.to(found.dtype), atol=tolerance, rtol=0)


@pytest.mark.parametrize("view", ["view1", "view2"])
def test_mixed_images_and_their_weights_are_equal(view: str) -> None:
    """The released code pastes 2*(h//2) rows where a side h is odd; fed these boxes, ours has the weight of that."""
    boxes = MIXING[f"in/boxes_{view}"]
    mixed = mix(MIXING[f"in/{view}"], "resizemix", shares=torch.zeros(6), boxes=boxes)
    assert_near(mixed, MIXING[f"out/mixed_{view}"], 1e-6)
    assert_near(shares_outside(boxes, height=32, width=32), MIXING[f"out/weight_pasted_{view}"], 1e-6)


def test_common_content_is_equal() -> None:
    assert_near(common_content(MIXING["out/weight_view1"]), MIXING["out/common"], 1e-6)
    assert_near(common_content(LOSSES["in/weight"]), LOSSES["out/common"], 1e-6)


@forms
@pytest.mark.parametrize("temperature", [1.0, 0.2])
@pytest.mark.parametrize("term", ["clean", "source", "mixed"])
def test_losses_and_gradients_are_equal(term: str, temperature: float, form: Form) -> None:
    weight, queries = LOSSES["in/weight"], LOSSES["in/q"].clone().requires_grad_()
    own = {"clean": torch.ones(6), "source": weight, "mixed": 1 / (1 + common_content(weight))}[term]
    loss = contrast(queries, LOSSES["in/k"], own, temperature=temperature, form=form).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    key = term if term == "clean" else f"{term}_form_{form}"
    assert queries.grad is not None
    assert_near(loss.detach(), LOSSES[f"out/T{temperature}/{key}"], 1e-5)
    assert_near(queries.grad, LOSSES[f"grad/T{temperature}/{key}/q"], 1e-5)


@pytest.mark.parametrize("momentum", ["0.99", "0.9963", "0", "1"])
def test_the_momentum_branch_follows_equally(momentum: str) -> None:
    method = build(MOMENTUM)
    (group,) = {name.split("/")[1] for name in MOMENTUM if name.startswith("out/m") and _is(name, momentum)}
    method.momentum.follow(method._online(), momentum=float(momentum))
    found = method.state_dict()
    for name, expected in arrays_under(MOMENTUM, f"out/{group}/").items():
        assert_near(found[our_name(name)], expected, 1e-7)


def _is(name: str, momentum: str) -> bool:
    return float(name.split("/")[1].removeprefix("m")) == float(momentum)


def test_the_schedule_of_the_momentum_is_equal() -> None:
    method = build(MOMENTUM)
    for eleventh, expected in enumerate(MOMENTUM["out/schedule"].tolist()):
        assert float(MOMENTUM["in/schedule_epochs"][eleventh]) == pytest.approx(100 * eleventh / 11)
        assert method.momentum_at(Clock(round=eleventh, rounds=11)) == pytest.approx(expected, abs=1e-12)


def stepped(order: str, form: Form) -> tuple[SDMP, Batch]:
    """A network whose momentum branch has moved, and the batch of a step, mixed as it was."""
    method = build(STEP, form)
    views = [STEP["in/view1"], STEP["in/view2"]]
    first, second = views if order == "keep" else views[::-1]
    mixed_first, mixed_second = (
        mix(view, "resizemix", shares=torch.zeros(6), boxes=STEP[f"in/boxes_view{place}"])
        for place, view in enumerate((first, second), start=1)
    )
    drawn = {"first": first, "second": second, "source": first, "mixed_first": mixed_first,
             "mixed_second": mixed_second, "own": STEP[f"out/{order}/weight_own"]}  # fmt: skip
    method.momentum.follow(method._online(), momentum=float(STEP["in/m"]))
    return method, Batch(images=first, drawn=drawn)


def test_the_momentum_branch_of_a_step_is_equal() -> None:
    found = stepped("keep", "a")[0].state_dict()
    for name, expected in arrays_under(STEP, "out/momentum_encoder.").items():
        if "running" not in name and "num_batches" not in name:
            assert_near(found[our_name(f"momentum_encoder.{name}")], expected, 1e-7)


@orders
def test_features_of_a_step_are_equal(order: str) -> None:
    method, batch = stepped(order, "a")
    online = {"q1": "first", "q2_mixed": "mixed_second"}
    momentum = {"k1": "first", "k1_mixed": "mixed_first", "k2": "second"}
    for name, view in online.items():
        assert_near(method._query(batch.drawn[view]), STEP[f"out/{order}/{name}"], 1e-4)
    for name, view in momentum.items():
        assert_near(method.momentum(batch.drawn[view]), STEP[f"out/{order}/{name}"], 1e-4)


@orders
@forms
def test_losses_statistics_and_gradients_of_a_step_are_equal(order: str, form: Form) -> None:
    method, batch = stepped(order, form)
    output = method.training_step(batch, Clock())
    figures = output.figures
    assert_near(figures["clean_loss"], STEP[f"out/{order}/loss_clean"], 1e-5)
    assert_near(figures["source_loss"] / 2, STEP[f"out/{order}/loss_source_form_{form}"], 1e-5)
    assert_near(figures["mixed_loss"] / 2, STEP[f"out/{order}/loss_mixed_form_{form}"], 1e-5)
    assert_near(output.loss.detach(), STEP[f"out/{order}/loss_total_form_{form}"], 1e-5)
    found = method.state_dict()
    for name, expected in arrays_under(STEP, f"out/{order}/buffers/").items():
        assert_near(found[our_name(name)], expected, 1e-5)
    output.loss.backward()  # type: ignore[no-untyped-call]
    for name, expected in arrays_under(STEP, f"grad/{order}/form_{form}/").items():
        gradient = method.get_parameter(our_name(name)).grad
        assert gradient is not None
        assert_near(gradient, expected, 1e-4 * float(expected.abs().max()))


@orders
def test_weights_of_a_step_are_equal(order: str) -> None:
    own = STEP[f"out/{order}/weight_own"]
    assert_near(1 - own, STEP[f"out/{order}/weight_partner"], 1e-5)
    mixed = 1 / (1 + common_content(own))
    assert_near(mixed, STEP[f"out/{order}/weight_mixed_own"], 1e-5)
    assert_near(1 - mixed, STEP[f"out/{order}/weight_mixed_partner"], 1e-5)
