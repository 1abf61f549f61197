"""DMAE computes what the published code computes.

Origin: UCSC-VLAA/DMAE, commit a0f4959e848f960e79607c097d0d726ed0677b40, models_mae_distill.py and engine_distill.py,
unmodified, on timm 0.3.2 and torch 2.15.0, CPU, float32. Student: image 32, patch 8, width 32, 4 blocks of 4 heads,
decoder 24 x 2 blocks of 3 heads, tap after block 2, one linear projection 32 -> 48. Teacher: width 48, 6 blocks of 4
heads, tap after block 4; its last block is not stored, as it is never needed. Mask ratio 0.75; seed 201, trainable
parameters moved by Gaussian noise. Beside this file: weights (the teacher's in a file of their own), images, masking
noise, results and gradients.
Tolerance: 2e-5 absolute for tokens, 1e-6 for losses and gradients; masks and indices exact.
"""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from published import arrays_under, assert_near, renamed
from safetensors.torch import load_file

from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.methods.dmae.config import DMAEConfig, TeacherConfig
from fedward_models.methods.dmae.dmae import DMAE
from fedward_models.step import Clock

REFERENCE = {
    name: tensor
    for file in ("dmae.safetensors", "dmae_teacher.safetensors")
    for name, tensor in load_file(Path(__file__).with_name(file)).items()
}
# Where each part of the published student is in ours, by the start of its name.
PARTS = {
    "aligned_feature_projection_heads.": "projections.",
    "decoder_": "decoder.",
    "mask_token": "decoder.mask_token",
    "norm.": "norm.",
    "": "backbone.",
}


our_name = partial(renamed, PARTS)
values = partial(arrays_under, REFERENCE)


def build(**settings: Any) -> DMAE:
    backbone = ViTConfig(width=32, depth=4, heads=4, patch_px=8).build(image_px=32, channels=3)
    teacher = TeacherConfig(width=48, depth=6, heads=4)
    config = DMAEConfig(teacher=teacher, decoder_width=24, decoder_depth=2, decoder_heads=3, **settings)
    method = config.build(backbone=backbone, contract=Contract(classes=("a", "b"), channels=3))
    assert isinstance(method, DMAE)
    state = {our_name(name): tensor for name, tensor in values("state/student/").items()}
    state |= {f"teacher.held.{name}": tensor for name, tensor in values("state/teacher/").items()}
    assert set(state) == {name for name in method.state_dict() if not name.endswith("pos_embed")}
    method.load_state_dict(state, strict=False)
    return method


def batch() -> Batch:
    return Batch(images=REFERENCE["in/images"], drawn={"noise": REFERENCE["in/noise"]})


def test_taps_are_the_published_ones() -> None:
    assert build().taps == ((2, 4),)


def test_masks_are_equal() -> None:
    mask = build().mask(batch())
    assert torch.equal(mask.visible, REFERENCE["out/ids_keep"])
    assert torch.equal(mask.restore, REFERENCE["out/ids_restore"])
    assert torch.equal(mask.hidden.float(), REFERENCE["out/mask"])


def test_tokens_and_predictions_are_equal() -> None:
    method, images = build(), REFERENCE["in/images"]
    mask = method.mask(batch())
    student = method.student_pass(images, mask)
    assert_near(method.teacher(images, mask)[0], REFERENCE["out/teacher_tap0"], 2e-5)
    assert_near(student.projected[0], REFERENCE["out/projected_tap0"], 2e-5)
    assert_near(student.painted, REFERENCE["out/pred"], 2e-5)


@pytest.mark.parametrize("pixels", ["raw", "norm"])
@pytest.mark.parametrize("distance", ["L1", "L2"])
def test_losses_are_equal(pixels: str, distance: str) -> None:
    method = build(norm_pixels=pixels == "norm", alignment=distance.lower())
    output = method.training_step(batch(), Clock())
    assert_near(output.figures["pixel_loss"], REFERENCE[f"out/loss_pixel_{pixels}"], 1e-6)
    assert_near(output.figures["alignment_loss"], REFERENCE[f"out/loss_align_{distance}"][0], 1e-6)
    assert_near(output.loss, REFERENCE[f"out/loss_total_{pixels}_{distance}"], 1e-6)


@pytest.mark.parametrize("pixels", ["raw", "norm"])
def test_gradients_of_the_whole_loss_are_equal(pixels: str) -> None:
    method = build(norm_pixels=pixels == "norm")
    method.training_step(batch(), Clock()).loss.backward()  # type: ignore[no-untyped-call]
    check_gradients(method, f"grad/total_{pixels}_L1/")


@pytest.mark.parametrize("distance", ["L1", "L2"])
def test_gradients_of_the_alignment_are_equal(distance: str) -> None:
    method = build(alignment=distance.lower())
    method._losses(batch())[1].mean().backward()  # type: ignore[no-untyped-call]
    check_gradients(method, f"grad/align_{distance}/")


def check_gradients(method: DMAE, group: str) -> None:
    gradients = values(group)
    assert gradients
    for name, expected in gradients.items():
        found = method.get_parameter(our_name(name)).grad
        assert found is not None
        assert_near(found, expected, 1e-6)
