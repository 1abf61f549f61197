"""Fine-tuning of Fed-MAE and Fed-BEiT computes what the published code computes.

Origin: rui-yan/SSL-FL, commit 69c3388d5c9d081451f4aacd5455ba3c2da2b55b, unmodified, on timm 0.3.2 and torch 2.15.0,
CPU, float32; class VisionTransformer of code/fed_mae/models_vit.py (global_pool=True; seed 102), and of
code/fed_beit/modeling_finetune.py (mean pooling, a table of positions in each block; seed 104, tables five times as
large). Networks: image 32, patch 8, width 48, 2 blocks of 4 heads, 3 classes; trainable parameters moved by Gaussian
noise. Beside this file: weights, images, labels, results and gradients of each.
Tolerance: 1e-5 absolute for values, 2e-6 for gradients.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from published import arrays_under, assert_near
from safetensors.torch import load_file
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.spec import BackboneConfig
from fedward_models.backbones.beit_vit.config import BEiTViTConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.step import Clock

FORM = {"width": 48, "depth": 2, "heads": 4, "patch_px": 8}


@dataclass(frozen=True)
class Published:
    """What one of the published networks computed."""

    arrays: dict[str, Tensor]
    backbone: BackboneConfig
    gradients: int

    def values(self, group: str) -> dict[str, Tensor]:
        return arrays_under(self.arrays, group)

    def batch(self) -> Batch:
        return Batch(images=self.arrays["in/images"], labels=self.arrays["in/labels"])

    def ours(self, *, label_smoothing: float = 0.0) -> Supervised:
        config = SupervisedConfig(label_smoothing=label_smoothing)
        contract = Contract(classes=("a", "b", "c"), channels=3)
        method = config.build(backbone=self.backbone.build(image_px=32, channels=3), contract=contract)
        assert isinstance(method, Supervised)
        method.load_state_dict({our_name(name): tensor for name, tensor in self.values("state/").items()})
        return method


@pytest.fixture(params=["mae", "beit"])
def published(request: pytest.FixtureRequest) -> Published:
    arrays = load_file(Path(__file__).with_name(f"ssl_fl_{request.param}_finetune.safetensors"))
    if request.param == "mae":
        return Published(arrays, ViTConfig.model_validate(FORM), gradients=5)
    return Published(arrays, BEiTViTConfig.model_validate(FORM), gradients=6)


def our_name(name: str) -> str:
    return name if name.startswith("head.") else f"backbone.{name}"


def test_features_and_logits_are_equal(published: Published) -> None:
    method = published.ours()
    assert_near(method.backbone(published.arrays["in/images"]), published.arrays["out/features"])
    assert_near(method.logits(published.arrays["in/images"]), published.arrays["out/logits"])


def test_losses_are_equal(published: Published) -> None:
    batch, expected = published.batch(), published.arrays
    assert_near(published.ours().training_step(batch, Clock()).loss, expected["out/loss_ce"])
    assert_near(published.ours(label_smoothing=0.1).training_step(batch, Clock()).loss, expected["out/loss_smooth"])
    mixed = replace(batch, labels=expected["in/soft_targets"])
    assert_near(published.ours().training_step(mixed, Clock()).loss, expected["out/loss_soft"])


def test_gradients_are_equal(published: Published) -> None:
    method = published.ours()
    method.training_step(published.batch(), Clock()).loss.backward()  # type: ignore[no-untyped-call]
    gradients = published.values("grad/loss_ce/")
    assert len(gradients) == published.gradients
    for name, expected in gradients.items():
        found = method.get_parameter(our_name(name)).grad
        assert found is not None
        assert_near(found, expected, 2e-6)
