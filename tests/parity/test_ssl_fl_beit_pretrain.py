"""Fed-BEiT pre-training computes what the published code computes.

Origin: rui-yan/SSL-FL, commit 69c3388d5c9d081451f4aacd5455ba3c2da2b55b, code/fed_beit/modeling_pretrain.py, class
VisionTransformerForMaskedImageModeling, unmodified, on timm 0.3.2 and torch 2.15.0, CPU, float32. Network: image 32,
patch 8, width 48, 2 blocks of 4 heads, 64 tokens, a shared table of positions; seed 103, trainable parameters moved by
Gaussian noise, the table five times as large. Beside this file: weights, images, masks that hide 6, 7 and 5 patches,
tokens, results and gradients.
Tolerance: 1e-5 absolute for values, 2e-6 for gradients; labels exact.
"""

from functools import partial
from pathlib import Path

import pytest
import torch
from published import arrays_under, assert_near, renamed
from safetensors.torch import load_file

from fedward_core.cards import Contract
from fedward_models.backbones.beit_vit.config import BEiTViTConfig
from fedward_models.batch import Batch
from fedward_models.methods.beit.beit import BEiT
from fedward_models.methods.beit.config import BEiTConfig
from fedward_models.step import Clock
from fedward_models.tokenizers.config import PatchCodebookConfig

REFERENCE = load_file(Path(__file__).with_name("ssl_fl_beit_pretrain.safetensors"))
HIDDEN = REFERENCE["in/mask"].bool()
# Where each part of the published network is in ours, by the start of its name.
PARTS = {
    "rel_pos_bias.": "backbone.shared_positions.",
    "lm_head.": "token_head.",
    "mask_token": "mask_token",
    "norm.": "norm.",
    "": "backbone.",
}


our_name = partial(renamed, PARTS)
values = partial(arrays_under, REFERENCE)


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> BEiT:
    backbone = BEiTViTConfig(width=48, depth=2, heads=4, patch_px=8).build(image_px=32, channels=3)
    config = BEiTConfig(tokenizer=PatchCodebookConfig(vocabulary=64), drop_path=0)
    built = config.build(backbone=backbone, contract=Contract(classes=("a", "b"), channels=3))
    assert isinstance(built, BEiT)
    built.load_state_dict({our_name(name): tensor for name, tensor in values("state/").items()})
    monkeypatch.setattr(built.tokenizer, "tokens", lambda batch: REFERENCE["in/token_ids"])
    return built


def batch() -> Batch:
    return Batch(images=REFERENCE["in/images"], drawn={"hidden": HIDDEN})


def test_the_table_of_positions_is_read_as_published(method: BEiT) -> None:
    positions = method.backbone.shared_positions
    assert positions is not None
    assert_near(positions(), REFERENCE["out/relative_position_bias"])


def test_features_and_logits_are_equal(method: BEiT) -> None:
    features = method.encode(REFERENCE["in/images"], HIDDEN)
    assert_near(features, REFERENCE["out/features"])
    assert_near(method.hidden_logits(REFERENCE["in/images"], HIDDEN), REFERENCE["out/logits_masked"])
    assert_near(method.token_head(features[:, 1:]), REFERENCE["out/logits_all"])


def test_loss_and_accuracy_are_equal(method: BEiT) -> None:
    output = method.training_step(batch(), Clock())
    assert torch.equal(REFERENCE["in/token_ids"][HIDDEN], REFERENCE["out/labels_masked"])
    assert_near(output.loss, REFERENCE["out/loss"])
    assert_near(output.figures["token_accuracy"], REFERENCE["out/accuracy"])


def test_gradients_are_equal(method: BEiT) -> None:
    method.training_step(batch(), Clock()).loss.backward()  # type: ignore[no-untyped-call]
    gradients = values("grad/")
    assert len(gradients) == 6
    for name, expected in gradients.items():
        found = method.get_parameter(our_name(name)).grad
        assert found is not None
        assert_near(found, expected, 2e-6)
