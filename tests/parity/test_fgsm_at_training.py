"""Steps of adversarial training change the weights as the published loops change them.

Origin: locuslab/fast_adversarial, commit 54f728755e71 (CIFAR10/train_fgsm.py: ``wong``), and
tml-epfl/understanding-fast-adv-training, commit ceed49440bfc (train.py: ``tml``), on torch 2.15.0, CPU, float32; width
4, batches of 3, seeds 66 to 71; random starts, rates and momenta are stored as used. ``wong`` works in
normalised units. The loop of ``tml`` begins with a pass that moves no weight.
Tolerance: 1e-4 absolute; a sign of a gradient near zero may flip a pixel by twice the step, so images may differ in one
pixel of a thousand.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fedward_core.cards import Contract
from fedward_models.backbones.preact_resnet.config import PreActResNetConfig
from fedward_models.batch import Batch
from fedward_models.methods.fgsm_at.config import FGSMATConfig
from fedward_models.methods.fgsm_at.fgsm_at import FGSMAT
from fedward_models.step import Clock

MEAN = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
STD = torch.tensor([0.2471, 0.2435, 0.2616])[:, None, None]
PLAIN: dict[str, Any] = {"mask_ratio": 0.0, "first_layer_penalty": 0.0, "monitor_steps": 0}
CASES: dict[str, dict[str, Any]] = {
    "train_wong_random": {"attack": "fgsm_rs"},
    "train_wong_zero": {"attack": "fgsm"},
    "train_tml_zero": {"attack": "fgsm", "ties": "zero"},
    "train_tml_zero_half_ties": {"attack": "fgsm", "ties": "half"},
    "train_tml_random": {"attack": "fgsm_rs", "ties": "zero"},
    "train_tml_align": {"attack": "fgsm", "ties": "zero", "step_ratio": 1.25, "grad_align": 0.2},
}


class Reference:
    """One stored case.

    Attributes:
        case: Its name.
        arrays: Everything that is stored.
    """

    def __init__(self, case: str) -> None:
        self.case = case
        self.arrays = load_file(Path(__file__).with_name(f"fgsm_at_{case}.safetensors"))

    def get(self, part: str, name: str) -> Tensor:
        return self.arrays[f"{part}/{self.case}/{name}"]

    def state(self) -> dict[str, Tensor]:
        start = f"state/{self.case}/"
        named = {name.removeprefix(start): t for name, t in self.arrays.items() if name.startswith(start)}
        return {our_name(name): tensor for name, tensor in named.items()}

    def drawn(self, step: int) -> dict[str, Tensor]:
        if "align" in self.case:
            return {"probe": self.get("in", f"draw_{step:03}") * 255 / 8}
        if "random" not in self.case:
            return {}
        if "tml" in self.case:
            return {"start": self.get("in", f"draw_{step:03}") * 255 / 8}
        channels = [self.get("in", f"draw_{3 * step + channel:03}") for channel in range(3)]
        return {"start": torch.stack(channels, dim=1) * STD * 255 / 8}

    def batch(self, number: int, *, step: int) -> Batch:
        images, chosen = self.get("in", "x_uint8").float() / 255, slice(3 * number, 3 * number + 3)
        return Batch(images=images[chosen], labels=self.get("in", "y")[chosen], drawn=self.drawn(step))


def our_name(name: str) -> str:
    return name.replace("linear.", "head.") if name.startswith("linear.") else f"backbone.{name}"


def build(reference: Reference) -> tuple[FGSMAT, list[Tensor]]:
    """The method with the stored weights, and a list that fills with what its network is given."""
    wong, seen = "wong" in reference.case, []
    backbone = PreActResNetConfig(width=4, final_norm=wong).build(image_px=32, channels=3)
    config = FGSMATConfig(**CASES[reference.case], **PLAIN)
    method: FGSMAT = config.build(backbone=backbone, contract=Contract(classes=tuple("abcdefghij"), channels=3))
    method.load_state_dict(reference.state())

    def look(_: object, inputs: tuple[Tensor]) -> tuple[Tensor]:
        given = (inputs[0] - MEAN) / STD if wong else inputs[0]
        seen.append(given.detach())
        return (given,)

    backbone.register_forward_pre_hook(look)
    return method.train(), seen


def assert_pixels_near(found: Tensor, expected: Tensor) -> None:
    assert float(((found - expected).abs() > 1e-4).float().mean()) < 1e-3


@pytest.mark.parametrize("case", CASES)
def test_images_losses_and_weights_of_three_steps_are_equal(case: str) -> None:
    reference = Reference(case)
    method, seen = build(reference)
    optimizer = torch.optim.SGD(method.parameters(), lr=1.0, momentum=0.9, weight_decay=5e-4)
    first = 0
    if "tml" in case:
        method.training_step(reference.batch(0, step=0), Clock())
        first = 1
    for number in range(3):
        step = number + first
        seen.clear()
        loss = method.training_step(reference.batch(number, step=step), Clock()).loss
        assert_pixels_near(seen[0], reference.get("out", f"x_probe_{step}"))
        assert_pixels_near(seen[1], reference.get("out", f"x_adv_{step}"))
        if "tml" in case:
            torch.testing.assert_close(loss, reference.get("out", f"loss_{step}"), atol=1e-4, rtol=0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for group in optimizer.param_groups:
            group["lr"] = float(reference.get("out", f"lr_{step}"))
            group["momentum"] = float(reference.get("out", f"momentum_{step}"))
        optimizer.step()
        for name in ("conv1.weight", "linear.weight"):
            expected = reference.get("out", f"param_{step}/{name}")
            torch.testing.assert_close(method.get_parameter(our_name(name)).data, expected, atol=1e-4, rtol=0)
    norm = method.get_buffer("backbone.layer1.0.bn1.running_mean")
    torch.testing.assert_close(norm, reference.get("out", "final_running_mean"), atol=1e-4, rtol=0)


def test_the_rule_for_ties_decides_which_saturated_pixels_move() -> None:
    """The first three rows of every stored image are black and the next three white."""
    moved = {}
    for case in ("train_tml_zero", "train_tml_zero_half_ties"):
        reference = Reference(case)
        method, _ = build(reference)
        batch = reference.batch(0, step=0)
        moved[case] = float((method.perturb(batch)[:, :, :6] != 0).float().mean())
    assert moved["train_tml_zero"] == 0
    assert 0.3 < moved["train_tml_zero_half_ties"] < 0.7
