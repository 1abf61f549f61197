"""PGD and FGSM find the perturbations that the published code finds.

Origin: locuslab/fast_adversarial, commit 54f728755e71 (CIFAR10/utils.py: ``wong``), and
tml-epfl/understanding-fast-adv-training, commit ceed49440bfc (utils.py: ``tml``), function attack_pgd, on torch 2.15.0,
CPU, float32; width 4, seeds 62, 64 and 65; random starts are stored as drawn. ``wong`` works in normalised units.
Tolerance: 1e-5 absolute, in the units of the published code.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from fedward_models.attacks.gradient import LogitsOf
from fedward_models.attacks.pgd import PGD
from fedward_models.backbones.preact_resnet.config import PreActResNetConfig
from fedward_models.backbones.preact_resnet.preact_resnet import PreActResNet

FILES = ("fgsm_at_attack.safetensors", "fgsm_at_fgsm_tml.safetensors")
REFERENCE = {k: v for file in FILES for k, v in load_file(Path(__file__).with_name(file)).items()}
MEAN = torch.tensor([0.4914, 0.4822, 0.4465])[:, None, None]
STD = torch.tensor([0.2471, 0.2435, 0.2616])[:, None, None]
CASES = {
    "pgd_wong": PGD(radius=24 / 255, step=6 / 255, steps=6, skip_misclassified=True),
    "pgd_tml": PGD(radius=16 / 255, step=4 / 255, steps=6, project_start=False),
    "fgsm_tml": PGD(radius=8 / 255, step=8 / 255, steps=1, project_start=False),
}


def get(part: str, case: str) -> dict[str, Tensor]:
    start = f"{part}/{case}/"
    return {name.removeprefix(start): tensor for name, tensor in REFERENCE.items() if name.startswith(start)}


def classifier(case: str) -> LogitsOf:
    """The published network on pixels in [0, 1]."""
    backbone: PreActResNet = PreActResNetConfig(width=4, final_norm="wong" in case).build(image_px=32, channels=3)
    linear, state = nn.Linear(32, 10), get("state", case)
    backbone.load_state_dict({name: tensor for name, tensor in state.items() if not name.startswith("linear.")})
    linear.load_state_dict({name: state[f"linear.{name}"] for name in ("weight", "bias")})
    backbone.eval()
    mean, std = (MEAN, STD) if "wong" in case else (0.0, 1.0)
    return lambda pixels: torch.as_tensor(linear(backbone((pixels - mean) / std)))


def starts(case: str) -> list[Tensor]:
    draws = [tensor for name, tensor in sorted(get("in", case).items()) if name.startswith("draw")]
    if "wong" in case:  # one draw for each channel, in normalised units
        return [torch.stack(draws[first : first + 3], dim=1) * STD for first in range(0, len(draws), 3)]
    return draws or [torch.zeros(4, 3, 32, 32)]


@pytest.mark.parametrize("case", CASES)
def test_perturbations_and_losses_are_equal(case: str) -> None:
    inputs, expected, logits_of = get("in", case), get("out", case), classifier(case)
    pixels, labels = inputs["x_uint8"].float() / 255, inputs["y"]
    found = CASES[case].attack(logits_of, pixels, labels, starts(case))
    with torch.no_grad():
        logits = logits_of(pixels + found)
        clean = functional.cross_entropy(logits_of(pixels), labels, reduction="none")
    scale = STD if "wong" in case else torch.ones(3, 1, 1)
    torch.testing.assert_close(found / scale, expected["delta"], atol=1e-5, rtol=0)
    torch.testing.assert_close(clean, expected["clean_loss"], atol=1e-5, rtol=0)
    torch.testing.assert_close(
        functional.cross_entropy(logits, labels, reduction="none"), expected["loss"], atol=1e-5, rtol=0
    )
    assert torch.equal(logits.argmax(dim=1) == labels, expected["robust_correct"])
