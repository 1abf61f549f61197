"""Fed-BEiT fine-tuning computes what the published code computes.

Origin: rui-yan/SSL-FL, commit 69c3388d5c9d081451f4aacd5455ba3c2da2b55b, code/fed_beit/modeling_finetune.py, class
VisionTransformer (mean pooling, a table of positions in each block), unmodified, on timm 0.3.2 and torch 2.15.0, CPU,
float32. Network: image 32, patch 8, width 48, 2 blocks of 4 heads, 3 classes; seed 104, trainable parameters moved by
Gaussian noise, tables five times as large. Beside this file: weights, images, labels, results and gradients.
Tolerance: 1e-5 absolute for values, 2e-6 for gradients.
"""

from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from fedward_core.cards import Contract
from fedward_models.backbones.beit_vit.config import BEiTViTConfig
from fedward_models.method import Batch, Clock
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised

REFERENCE = load_file(Path(__file__).with_name("ssl_fl_beit_finetune.safetensors"))


def our_name(name: str) -> str:
    return name if name.startswith("head.") else f"backbone.{name}"


def values(group: str) -> dict[str, Tensor]:
    return {name.removeprefix(group): tensor for name, tensor in REFERENCE.items() if name.startswith(group)}


def build(*, label_smoothing: float = 0.0) -> Supervised:
    backbone = BEiTViTConfig(width=48, depth=2, heads=4, patch_px=8).build(image_px=32, channels=3)
    config = SupervisedConfig(label_smoothing=label_smoothing)
    method = config.build(backbone=backbone, contract=Contract(classes=("a", "b", "c"), channels=3))
    assert isinstance(method, Supervised)
    method.load_state_dict({our_name(name): tensor for name, tensor in values("state/").items()})
    return method


def batch() -> Batch:
    return Batch(images=REFERENCE["in/images"], labels=REFERENCE["in/labels"])


def assert_near(found: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def test_features_and_logits_are_equal() -> None:
    method = build()
    assert_near(method.backbone(REFERENCE["in/images"]), REFERENCE["out/features"])
    assert_near(method.logits(REFERENCE["in/images"]), REFERENCE["out/logits"])


def test_losses_are_equal() -> None:
    assert_near(build().training_step(batch(), Clock()).loss, REFERENCE["out/loss_ce"])
    assert_near(build(label_smoothing=0.1).training_step(batch(), Clock()).loss, REFERENCE["out/loss_smooth"])
    mixed = replace(batch(), labels=REFERENCE["in/soft_targets"])
    assert_near(build().training_step(mixed, Clock()).loss, REFERENCE["out/loss_soft"])


def test_gradients_are_equal() -> None:
    method = build()
    method.training_step(batch(), Clock()).loss.backward()  # type: ignore[no-untyped-call]
    gradients = values("grad/loss_ce/")
    assert len(gradients) == 6
    for name, expected in gradients.items():
        found = method.get_parameter(our_name(name)).grad
        assert found is not None
        assert_near(found, expected, 2e-6)
