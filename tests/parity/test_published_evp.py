"""EVP computes what the published code computes.

Origin: UCSC-VLAA/EVP, commit 96b7131bab40, main.py (Pertubation, train_with_prompt, eval), torch 2.15.0, CPU, float32;
the network is a random CLIP of open_clip 3.3.0: patch 32, width 32, 2 blocks of 4 heads, 16 features, quick GELU, texts
of 12 tokens out of 64. Canvas 224, image 164, border 30; seeds 41 to 44. Beside this file: weights, images, gradients,
and of long results every seventh value.
Tolerance: 1e-5 absolute; 1e-4 for logits and losses.
"""

from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file, save_file
from torch import Tensor

from fedward_core.cards import Contract
from fedward_core.spec import Schedule
from fedward_models.backbones.clip_vit.config import CLIPViTConfig
from fedward_models.batch import Batch
from fedward_models.frozen import FrozenWeights, file_digest
from fedward_models.methods.evp.config import EVPConfig
from fedward_models.methods.evp.evp import EVP
from fedward_models.methods.evp.prompt import Prompt
from fedward_models.step import Clock
from fedward_models.towers.clip_text import class_texts, embed_tokens
from fedward_models.training.schedule import learning_rate

HERE = Path(__file__).parent
PROMPTED, UPDATE, STEP = (load_file(HERE / f"evp_{part}.safetensors") for part in ("prompted", "update", "step"))
CLASSES = ("a", "b", "c", "d", "e")


@pytest.fixture
def method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EVP:
    """The small CLIP behind a prompt, with the stored embeddings of its texts."""
    monkeypatch.setenv("FEDWARD_WEIGHTS", f"{HERE}:{tmp_path}")
    scale = load_file(HERE / "evp_clip.safetensors")["logit_scale"]
    save_file({"embeddings": STEP["text_features"], "logit_scale": scale}, tmp_path / "texts.safetensors")
    weights, embeddings = (
        FrozenWeights(name=path.stem, sha256=file_digest(path))
        for path in (HERE / "evp_clip.safetensors", tmp_path / "texts.safetensors")
    )
    config = EVPConfig(weights=weights, head="text", embeddings=embeddings)
    tower = CLIPViTConfig(width=32, depth=2, heads=4, patch_px=32, features=16).build(image_px=224, channels=3)
    built = config.build(backbone=tower, contract=Contract(classes=CLASSES, channels=3))
    assert isinstance(built, EVP)
    return built


def batch(images: Tensor, labels: Tensor | None = None) -> Batch:
    return Batch(images=images.float() / 255, labels=labels)


def start(method: EVP, border: Tensor) -> None:
    method.prompt.border.data.copy_(border)


def test_prompted_images_are_equal(method: EVP) -> None:
    start(method, PROMPTED["border_half"])
    seen = method.prompted(batch(PROMPTED["images_uint8"])).detach().flatten()[::7]
    torch.testing.assert_close(seen, PROMPTED["seen_every_7th"], atol=1e-5, rtol=0)


def test_the_update_is_equal() -> None:
    """As in the published code, each image has a copy of the canvas, and their gradients are averaged."""
    prompt = Prompt(canvas_px=224, free_px=164, channels=3)
    prompt.border.data.copy_(UPDATE["border_half"])
    before, lr = prompt.border.detach().clone(), float(UPDATE["lr"])
    (prompt() * UPDATE["gradients_half"].float().mean(dim=0)).sum().backward()
    prompt.normalise()
    torch.optim.SGD([prompt.border], lr=lr).step()
    after = prompt.border.detach()
    torch.testing.assert_close(after.flatten()[::7], UPDATE["border_after_every_7th"], atol=1e-5, rtol=0)
    torch.testing.assert_close((after - before).norm(), UPDATE["step_norm"], atol=1e-3, rtol=0)


def test_features_of_images_and_logits_are_equal(method: EVP) -> None:
    start(method, STEP["border0_half"])
    first = batch(STEP["images_uint8"][0])
    with torch.no_grad():
        features, logits = method.backbone(method.prompted(first)), method.scores(first)
    torch.testing.assert_close(features, STEP["image_features0"], atol=1e-5, rtol=0)
    torch.testing.assert_close(logits, STEP["logits0"], atol=1e-4, rtol=0)


def test_features_of_texts_are_equal() -> None:
    arrays = load_arrays(HERE / "evp_clip.safetensors")
    features = embed_tokens(arrays, STEP["tokens"], head_width=8)
    torch.testing.assert_close(features, STEP["text_features"], atol=1e-5, rtol=0)


def test_two_training_steps_are_equal(method: EVP) -> None:
    start(method, STEP["border0_half"])
    method.train()
    for step in range(2):
        prepared = batch(STEP["images_uint8"][step], STEP["labels"][step])
        method.before_step(Clock())
        method.prompt.border.grad = None
        loss = method.training_step(prepared, Clock()).loss
        loss.backward()  # type: ignore[no-untyped-call]
        method.after_backward(Clock())
        torch.optim.SGD([method.prompt.border], lr=float(STEP[f"lr_{step}"])).step()
        torch.testing.assert_close(loss.detach(), STEP[f"loss_{step}"], atol=1e-4, rtol=0)
        border = method.prompt.border.detach().flatten()[::7]
        torch.testing.assert_close(border, STEP[f"border_{step + 1}_every_7th"], atol=1e-5, rtol=0)
    with torch.no_grad():
        logits = method.scores(batch(STEP["images_uint8"][0]))
    torch.testing.assert_close(logits, STEP["logits_end"], atol=1e-4, rtol=0)


def test_class_names_are_cleaned_and_put_in_the_template() -> None:
    names = ("Annual_Crop-Land", "aquarium_fish", "T-shirt")
    assert class_texts(names) == (
        "this is a photo of a annual crop land",
        "this is a photo of a aquarium fish",
        "this is a photo of a t shirt",
    )


def test_rates_are_equal() -> None:
    schedule, epochs = Schedule(shape="cosine_epochs"), PROMPTED["cosine/epoch"].tolist()
    found = [learning_rate(schedule, peak=70, clock=Clock(round=epoch, rounds=1000)) for epoch in epochs]
    assert found == pytest.approx(PROMPTED["cosine/lr"].tolist(), abs=1e-5)
