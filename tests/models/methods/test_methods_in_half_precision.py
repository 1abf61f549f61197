"""Mixed precision comes close to full precision: prompts, reports, attacks, teachers and mixes.

On a CPU, in place of the GPU that ``local.precision: mixed`` asks for: what is cast, and what must not be, is the same.
"""

from typing import Any

import pytest
import torch
from torch import Tensor

from fedward_core import registry
from fedward_core.cards import Contract
from fedward_models.batch import Batch
from fedward_models.building import seeded
from fedward_models.method import Method
from fedward_models.step import Clock

CONTRACT = Contract(classes=("a", "b", "c"), channels=3)
VIT = {"name": "vit", "width": 16, "depth": 2, "heads": 2, "patch_px": 8}
RESNET = {"name": "resnet", "width": 4, "depths": (1, 1, 1, 1), "input_px": 64}
MGCA = {
    "name": "mgca",
    "text": {"width": 16, "depth": 1, "heads": 2, "max_tokens": 12},
    "hidden": 16,
    "width": 8,
    "prototypes": 6,
}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "evp": ({"name": "evp", "weights": "as_built"}, VIT),
    "mgca-vit": (MGCA, VIT),
    "mgca-resnet": (MGCA, RESNET),
    "fgsm_at": ({"name": "fgsm_at", "attack": "fgsm_rs", "grad_align": 0.2}, {"name": "preact_resnet", "width": 4}),
    "fgsm_at-vit": ({"name": "fgsm_at", "attack": "pgd", "steps": 2}, VIT),
    "dmae": ({"name": "dmae", "teacher": {"width": 24, "depth": 2, "heads": 2}, "decoder_width": 16}, VIT),
    "sdmp-moco": ({"name": "sdmp", "base": {"name": "moco", "hidden": 16, "width": 8}}, VIT),
    "sdmp-dino": ({"name": "sdmp", "base": {"name": "dino", "hidden": 16, "bottleneck": 8, "prototypes": 12}}, VIT),
}


def build(case: str) -> Method:
    method, backbone = (dict(settings) for settings in CASES[case])
    configs = [
        registry.resolve(kind, settings.pop("name")).default(**settings)
        for kind, settings in (("methods", method), ("backbones", backbone))
    ]
    with seeded(0):
        network = configs[1].build(image_px=32, channels=3)
        built = configs[0].build(backbone=network, contract=CONTRACT)
    assert isinstance(built, Method)
    return built.train()


def raw() -> Batch:
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    reports = tuple(f"{number} small left nodules are seen." for number in range(6))
    return Batch(images=images, labels=torch.arange(6) % 3, seed=11, reports=reports)


def stepped(case: str, half: torch.dtype | None) -> tuple[Tensor, set[str]]:
    """The loss of a fresh method, and what it has reached going backward; None computes in full precision."""
    method = build(case)
    batch = method.prepare(raw(), torch.Generator().manual_seed(0))
    with seeded(batch.seed), torch.autocast("cpu", dtype=half, enabled=half is not None):
        loss = method.training_step(batch, Clock()).loss
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in method.named_parameters() if parameter.grad is not None}
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients.values())
    return loss.detach(), {name for name, gradient in gradients.items() if bool(gradient.any())}


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("case", CASES)
def test_sixteen_bits_come_close_to_thirty_two(case: str, half: torch.dtype) -> None:
    """And reach all that is reached there: a weight that was first cast without gradients would get none."""
    (rough, reached), (exact, expected) = stepped(case, half), stepped(case, None)
    torch.testing.assert_close(rough.float(), exact, rtol=0.05, atol=0.02)
    assert reached == expected != set()
