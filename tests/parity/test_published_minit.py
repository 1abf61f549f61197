"""MINiT and NiT compute what the published code computes.

Origin: singlaayush/MINIT, commit cf7006b06f1d (minit.py, nit.py), on torch 2.15.0, CPU, float32; seeds 11 to 16.
Tolerance: 1e-5 absolute; full networks, whose weights and volume follow the rule of ``hash_filled``, 1e-4 of the
largest logit.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from fedward_core import registry
from fedward_core.cards import Contract
from fedward_models.backbones.minit.minit import MINiT
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised

ARRAYS = load_file(Path(__file__).parent / "minit.safetensors")
SMALL = {"width": 16, "depth": 2, "heads": 4, "hidden": 20, "patch_px": 4, "dropout": 0.0, "embedding_dropout": 0.0}
CASES: dict[str, dict[str, Any]] = {
    "minit": {"block_px": 8},
    "minit_mean": {"block_px": 8, "scores": 3, "pool": "mean"},
    "minit_released_skip": {"block_px": 8, "depth": 6, "layer_drop": 0.25, "skips_in_evaluation": True},
    "nit": {},
}
# Our names as regular expressions, and the published ones; NiT has another prefix and no scores.
LAYERS = {
    r"encoder\.blocks\.(\d+)\.norm1\.": r"transformer.layers.\1.0.fn.norm.",
    r"encoder\.blocks\.(\d+)\.attn\.qkv\.": r"transformer.layers.\1.0.fn.fn.to_qkv.",
    r"encoder\.blocks\.(\d+)\.attn\.proj\.": r"transformer.layers.\1.0.fn.fn.to_out.0.",
    r"encoder\.blocks\.(\d+)\.norm2\.": r"transformer.layers.\1.1.fn.norm.",
    r"encoder\.blocks\.(\d+)\.mlp\.fc1\.": r"transformer.layers.\1.1.fn.fn.net.0.",
    r"encoder\.blocks\.(\d+)\.mlp\.fc2\.": r"transformer.layers.\1.1.fn.fn.net.3.",
    r"encoder\.class_token": "cls_token",
    r"encoder\.positions": "pos_embedding",
    r"norm\.": "mlp_head.0.",
}
MINIT_NAMES = {**LAYERS, r"encoder\.proj\.": "to_patch_embedding.1.", r"scores\.": "mlp_head.1."}
NIT_NAMES = {**LAYERS, r"encoder\.proj\.": "patch_to_embedding."}


def published(name: str) -> Callable[[str], str]:
    """From our state's names to the published ones."""
    minit = not name.endswith("nit") or name.endswith("minit")

    def translate(own: str) -> str:
        if own.startswith("head."):
            return own.replace("head.", "linear." if minit else "mlp_head.1.")
        own = own.removeprefix("backbone.")
        if own == "block_embedding":
            return "block_embeddings"
        for pattern, replacement in (MINIT_NAMES if minit else NIT_NAMES).items():
            if re.match(pattern, own):
                return ("vit." if minit else "") + re.sub(f"^{pattern}", replacement, own)
        raise AssertionError(own)

    return translate


def part(case: str, name: str) -> dict[str, Tensor]:
    start = f"{name}/{case}/"
    return {key.removeprefix(start): array for key, array in ARRAYS.items() if key.startswith(start)}


def network(backbone: str, *, image_px: int, channels: int, classes: int, **settings: Any) -> Supervised:
    config = registry.resolve("backbones", backbone).default(**settings)
    built = config.build(image_px=image_px, channels=channels)
    contract = Contract(classes=tuple(map(str, range(classes))), channels=channels)
    method = SupervisedConfig().build(backbone=built, contract=contract).eval()
    assert isinstance(method, Supervised)
    return method


def loaded(case: str) -> Supervised:
    state, volumes = part(case, "state"), part(case, "in")["x"]
    logits = part(case, "out")["logits"]
    method = network(
        "nit" if case == "nit" else "minit",
        image_px=16,
        channels=volumes.shape[1],
        classes=logits.shape[1],
        **{**SMALL, **CASES[case]},
    )
    names = {published(case)(own): own for own in method.state_dict()}
    method.load_state_dict({names[key]: array for key, array in state.items() if not key.startswith("distill")})
    return method


@pytest.mark.parametrize("case", CASES)
def test_logits_and_block_scores_are_equal(case: str) -> None:
    method, volumes, expected = loaded(case), part(case, "in")["x"], part(case, "out")
    torch.testing.assert_close(method.logits(volumes), expected["logits"], atol=1e-5, rtol=0)
    if isinstance(method.backbone, MINiT):
        scores = method.backbone.block_scores(volumes)
        torch.testing.assert_close(scores, expected["block_scores"], atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_equal(case: str) -> None:
    method, given, expected = loaded(case), part(case, "in"), part(case, "grad")
    functional.cross_entropy(method.logits(given["x"]), given["labels"]).backward()  # type: ignore[no-untyped-call]
    found = {published(case)(name): parameter.grad for name, parameter in method.named_parameters()}
    assert expected
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=0)


@pytest.mark.parametrize("case", ["full_minit", "full_nit"])
def test_full_networks_are_equal(case: str, hash_filled: Callable[..., tuple[dict[str, Tensor], Tensor]]) -> None:
    kind = case.removeprefix("full_")
    method = network(kind, image_px=64, channels=1, classes=2, dropout=0.0, embedding_dropout=0.0)
    translate = published(kind)
    shapes = {translate(name): tuple(array.shape) for name, array in method.state_dict().items()}
    unused = {"distill_token": (1, 1, 256), "distill.0.weight": (256,), "distill.0.bias": (256,)}
    unused |= {"distill.1.weight": (2, 256), "distill.1.bias": (2,)}
    state, volume = hash_filled({**shapes, **(unused if kind == "nit" else {})}, (1, 1, 64, 64, 64))
    method.load_state_dict({name: state[translate(name)] for name in method.state_dict()})
    expected = part(case, "out")["logits"]
    with torch.no_grad():
        found = method.logits(volume)
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=0)
