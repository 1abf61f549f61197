"""Visual prompting: what the prompt covers, how far a step goes, and that nothing else of the network moves."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from fedward_core import registry
from fedward_core.arrays import digest
from fedward_core.cards import Contract, Task
from fedward_core.errors import CheckpointError, DataError, SpecError
from fedward_core.partition import Partition
from fedward_core.spec import Local, Schedule, Spec
from fedward_models.backbones.backbone import Backbone
from fedward_models.backbones.clip_vit.config import CLIPViTConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of, seeded
from fedward_models.frozen import FrozenWeights, file_digest
from fedward_models.method import Method
from fedward_models.methods.evp.config import EVPConfig
from fedward_models.methods.evp.evp import EVP
from fedward_models.methods.evp.matching import count_answers, match_classes
from fedward_models.methods.evp.prompt import Prompt, border_mask
from fedward_models.methods.evp.tower import TextHead
from fedward_models.step import Clock
from fedward_models.towers.clip_text import class_texts
from fedward_models.towers.standards import standard_note, standardised
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase
from fedward_models.training.schedule import learning_rate
from fedward_models.weights import arrays_of

CLASSES = ("normal", "pneumonia", "covid")
COLOUR = Contract(classes=CLASSES, channels=3)
NETWORKS: dict[str, dict[str, Any]] = {
    "clip_vit": {"width": 16, "depth": 1, "heads": 2, "patch_px": 8, "features": 8},
    "preact_resnet": {"width": 4},
    "vit": {"width": 16, "depth": 1, "heads": 2, "patch_px": 8},
}


def network(name: str = "vit", channels: int = 3) -> Backbone:
    with seeded(1):
        built = registry.resolve("backbones", name).default(**NETWORKS[name]).build(image_px=32, channels=channels)
    assert isinstance(built, Backbone)
    return built


def build(name: str = "vit", *, contract: Contract = COLOUR, seed: int = 0, **settings: Any) -> EVP:
    config = EVPConfig.model_validate({"weights": "as_built", **settings})
    with seeded(seed):
        method = config.build(backbone=network(name, contract.channels), contract=contract)
    assert isinstance(method, EVP)
    return method


def pictures(count: int = 6, channels: int = 3, side: int = 32) -> Batch:
    """Standardised, as a loader gives them, with pixels in [0, 1] behind."""
    pixels = torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(3))
    return Batch(images=(pixels - 0.4) / 0.25, labels=torch.arange(count) % len(CLASSES), mean=0.4, std=0.25)


def step(method: EVP, batch: Batch, *, lr: float = 1.0, scale: float = 1.0) -> Tensor:
    """One step of gradient descent; how the border moved."""
    before = method.prompt.border.detach().clone()
    method.before_step(Clock())
    method.prompt.border.grad = None
    (scale * method.training_step(batch, Clock()).loss).backward()  # type: ignore[no-untyped-call]
    method.after_backward(Clock())
    torch.optim.SGD([method.prompt.border], lr=lr).step()
    return method.prompt.border.detach() - before


def gradients(method: EVP, batch: Batch) -> tuple[Tensor, Tensor]:
    """The gradient of the whole canvas, by another way, and that of its border."""
    canvas = method.prompt().detach().requires_grad_(True)
    frozen = copy.deepcopy(method)
    frozen.prompt.forward = lambda: canvas  # type: ignore[method-assign]
    frozen.training_step(batch, Clock()).loss.backward()  # type: ignore[no-untyped-call]
    assert canvas.grad is not None
    return canvas.grad, canvas.grad.flatten(1)[:, method.prompt.places]


def test_the_border_has_the_published_count() -> None:
    assert Prompt(canvas_px=224, free_px=164, channels=3).border.numel() == 69_840


@given(free=st.integers(1, 40), margin=st.integers(1, 12))
def test_a_border_holds_what_the_free_square_leaves(free: int, margin: int) -> None:
    canvas = free + 2 * margin
    prompt = Prompt(canvas_px=canvas, free_px=free, channels=3)
    assert prompt.border.numel() == 3 * (canvas**2 - free**2)
    assert int(border_mask(canvas, margin).sum()) == canvas**2 - free**2


@pytest.mark.parametrize(("image_px", "reason"), [(25, "odd"), (32, "no border"), (40, "larger than the canvas")])
def test_a_border_of_two_widths_is_refused(image_px: int, reason: str) -> None:
    with pytest.raises(SpecError, match="no border of one width"):
        build(image_px=image_px)


def test_after_any_steps_the_middle_is_the_shrunken_image() -> None:
    method, batch = build(image_px=16), pictures()
    for _ in range(3):
        step(method, batch)
    middle = slice(8, 24)
    assert not method.prompt()[:, middle, middle].any()
    assert method.prompt().abs().max() > 0
    shrunk = method.canvas(batch)[:, :, middle, middle]
    assert torch.equal((method.canvas(batch) + method.prompt())[:, :, middle, middle], shrunk)


def test_a_prompt_of_zeros_changes_no_bit() -> None:
    method, batch = build(), pictures()
    plain = method.head(method.backbone((method.canvas(batch) - batch.mean) / batch.std))
    assert torch.equal(method.scores(batch), plain)


def test_the_prompt_is_added_before_pixels_are_standardised() -> None:
    method, batch = build(), pictures()
    method.prompt.border.data.fill_(0.5)
    before = (method.canvas(batch) + method.prompt() - batch.mean) / batch.std
    after = (method.canvas(batch) - batch.mean) / batch.std + method.prompt()
    assert torch.equal(method.prompted(batch), before)
    assert not torch.allclose(method.prompted(batch), after)


def test_an_empty_border_is_black_to_clip() -> None:
    corner = build("clip_vit").prompted(pictures())[0, :, 0, 0]
    torch.testing.assert_close(corner, torch.tensor([-1.7923, -1.7521, -1.4802]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_has_the_length_of_the_borders_part(name: str) -> None:
    """In 64 bits, where what rounding changes is far below the tolerance."""
    method, batch = build(name).double(), pictures()
    batch = replace(batch, images=batch.images.double())
    whole, border = gradients(method, batch)
    moved = step(method, batch, lr=7.0)
    torch.testing.assert_close(moved.norm(), 7.0 * border.norm() / whole.norm(), rtol=1e-6, atol=0)
    torch.testing.assert_close(moved, -7.0 * border / whole.norm(), rtol=1e-6, atol=1e-9)
    assert moved.norm() <= 7.0


def test_a_step_is_as_long_as_the_rate_if_nothing_reaches_the_middle() -> None:
    prompt = Prompt(canvas_px=8, free_px=4, channels=1)
    (prompt() * border_mask(8, 2) * torch.randn(8, 8)).sum().backward()
    prompt.normalise()
    assert prompt.border.grad is not None
    torch.testing.assert_close(prompt.border.grad.norm(), torch.tensor(1.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize("scale", [10.0, 1e-3, 6.0])
def test_the_size_of_the_loss_changes_no_step(scale: float) -> None:
    """6 is the sum over the batch in place of the mean."""
    moved, scaled = (step(build(), pictures(), scale=factor) for factor in (1.0, scale))
    torch.testing.assert_close(moved, scaled, rtol=1e-5, atol=1e-7)


def test_without_a_gradient_nothing_moves() -> None:
    moved = step(build(), pictures(), scale=0.0)
    assert torch.equal(moved, torch.zeros_like(moved))


def test_gradients_of_several_passes_are_normalised_together() -> None:
    prompt, first, second = Prompt(canvas_px=8, free_px=4, channels=1), torch.randn(8, 8), torch.randn(8, 8)
    for factor in (first, second):
        (prompt() * factor).sum().backward()
    prompt.normalise()
    whole = first + second
    expected = whole.flatten()[prompt.places][None] / whole.norm()
    assert prompt.border.grad is not None
    torch.testing.assert_close(prompt.border.grad, expected)


class OnePicture:
    """A site whose epoch is one batch."""

    num_examples, num_steps = 6, 1

    def epoch(self, seed: int) -> Iterator[Batch]:
        yield pictures()


def test_with_sharpness_a_step_has_the_length_of_the_gradient_that_counts() -> None:
    """Of both passes of a step that is the second one's, at the prompt that was moved uphill."""
    method, uphill, rho, lr = build(flip=0.0), build(flip=0.0), 20.0, 2.0
    _, border = gradients(uphill, pictures())
    uphill.prompt.border.data += rho * border / border.norm()
    whole, border = gradients(uphill, pictures())
    values = {"device": "cpu", "sam_rho": rho, "optimizer": {"name": "sgd", "lr": lr, "momentum": 0.0}}
    phases = (Phase(local=Local.model_validate(values)),)
    fit(method, OnePicture(), phases, round_=0, rounds=1, seed=0, device=torch.device("cpu"))
    torch.testing.assert_close(method.prompt.border.detach(), -lr * border / whole.norm(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_training_moves_the_prompt_alone(name: str) -> None:
    method = build(name).train()
    before = digest({key: array.copy() for key, array in arrays_of(method.backbone.network).items()})
    for _ in range(2):
        step(method, method.prepare(pictures(), torch.Generator().manual_seed(0)))
    assert digest(arrays_of(method.backbone.network)) == before
    assert [n for n, parameter in method.named_parameters() if parameter.grad is not None] == ["prompt.border"]
    assert not any(module.training for module in method.backbone.modules())


def test_cosines_ignore_the_length_of_features() -> None:
    head, features = TextHead(torch.randn(3, 8)), torch.randn(5, 8)
    torch.testing.assert_close(head(features), head(17 * features))
    assert head(features).abs().max() <= 100


def test_the_rate_falls_along_a_cosine_once_an_epoch() -> None:
    rates = [
        learning_rate(Schedule(shape="cosine_epochs"), peak=70, clock=Clock(round=round_, rounds=100, step=3, steps=9))
        for round_ in (0, 50, 99)
    ]
    assert rates == pytest.approx([70, 35, 0.0173], abs=1e-3)


def test_without_mirroring_nothing_is_drawn_that_matters() -> None:
    """Square images are not cropped, so that the released pipeline without flips is deterministic."""
    method = build(flip=0.0)
    seen = [method.prompted(method.prepare(pictures(), torch.Generator().manual_seed(seed))) for seed in (0, 1)]
    assert torch.equal(*seen)


def test_crops_are_cut_where_the_draw_says() -> None:
    method = build(image_px=16, crop_from_px=20, flip=0.0)
    seen = [method.canvas(method.prepare(pictures(), torch.Generator().manual_seed(seed))) for seed in (0, 0, 1)]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert not seen[0][:, :, :8].any()


def test_mirrored_images_are_mirrored() -> None:
    method = build(flip=1.0)
    batch = method.prepare(pictures(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(method.canvas(batch), method.canvas(pictures()).flip(-1), atol=1e-5, rtol=0)


def test_evaluation_neither_mirrors_nor_crops() -> None:
    method = build(crop_from_px=28)
    prepared = method.prepare(pictures(), torch.Generator().manual_seed(0))
    assert torch.equal(method.evaluation_loss(prepared), method.evaluation_loss(pictures()))


def test_an_overlaid_prompt_hides_no_pixel_and_shrinks_no_image() -> None:
    """VP: the whole image, with the border's values on top."""
    method, batch = build(placement="overlay", initial="normal"), pictures()
    pixels = batch.images * batch.std + batch.mean
    torch.testing.assert_close(method.prompted(batch) * batch.std + batch.mean, pixels + method.prompt())
    assert float(method.prompt.border.detach().std()) == pytest.approx(1, abs=0.1)


def test_without_normalising_a_step_is_a_plain_one() -> None:
    method, batch = build(normalise_gradient=False), pictures()
    _, border = gradients(method, batch)
    torch.testing.assert_close(step(method, batch, lr=2.0), -2 * border)


def test_grey_images_have_a_prompt_of_the_networks_channels() -> None:
    grey = Contract(classes=CLASSES, channels=1)
    assert len(build("vit", contract=grey).prompt.border) == 1
    clip = build("clip_vit", contract=grey)
    assert len(clip.prompt.border) == 3
    assert clip.predict_batch(pictures(channels=1)).shape == (6, 3)


@pytest.mark.parametrize("settings", [{"policy": "rand"}, {"policy": "trivial"}, {"view": {"flip": 0}}])
def test_diversity_changes_training_images_by_the_seed_alone(settings: dict[str, Any]) -> None:
    method, batch = build(**settings), pictures()
    before, drawn = batch.images.clone(), torch.get_rng_state()
    seen = [method.prepare(batch, torch.Generator().manual_seed(seed)).images for seed in (0, 0, 1)]
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert torch.equal(batch.images, before)
    assert torch.equal(torch.get_rng_state(), drawn)
    pixels = seen[0] * batch.std + batch.mean
    assert seen[0].shape == before.shape
    assert -1e-5 <= float(pixels.min()) <= float(pixels.max()) <= 1 + 1e-5


def test_mirroring_is_said_once() -> None:
    with pytest.raises(ValueError, match="both mirror images"):
        EVPConfig.model_validate({"weights": "as_built", "view": {}})


def test_evaluation_also_tells_what_the_network_knows_without_a_prompt() -> None:
    """Zero-shot, on whole images: the prompt does not matter, and neither does its place."""
    method, batch = build(), pictures()
    plain = method.head(method.backbone(batch.images)).argmax(dim=1) == batch.labels
    method.prompt.border.data.fill_(3.0)
    (name, measured), *others = method.measures(batch).items()
    assert (name, others) == ("accuracy_without_prompt", [])
    assert measured.tolist() == plain.double().tolist()
    assert not method.measures(Batch(images=batch.images))


ANSWERS = torch.randn(40, 7, generator=torch.Generator().manual_seed(0))
KINDS = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(1))


@given(st.permutations(range(40)))
def test_matching_ignores_the_order_of_images(order: list[int]) -> None:
    counts = [
        count_answers([(ANSWERS[chosen], KINDS[chosen])], classes=3, source_classes=7)
        for chosen in (torch.arange(40), torch.tensor(order))
    ]
    assert match_classes(counts[0]) == match_classes(counts[1])


@given(st.lists(st.lists(st.integers(0, 9), min_size=5, max_size=5), min_size=1, max_size=5))
def test_matching_is_one_to_one(counts: list[list[int]]) -> None:
    """Against its slow twin: each class takes its most frequent answer that is still free."""
    found = match_classes(torch.tensor(counts))
    free, expected = list(range(5)), []
    for row in counts:
        best = max(free, key=lambda answer: (row[answer], -answer))
        expected.append(best)
        free.remove(best)
    assert list(found) == expected
    assert len(set(found)) == len(found)


def test_matching_works_with_few_images_of_a_class() -> None:
    batches = [(torch.eye(4)[[2, 2, 2, 1]], torch.tensor([0, 0, 0, 1]))]
    assert match_classes(count_answers(batches, classes=3, source_classes=4)) == (2, 1, 0)


def test_more_classes_than_the_classifier_has_are_refused() -> None:
    with pytest.raises(SpecError, match="3 classes cannot be told apart by a classifier of 2"):
        match_classes(torch.zeros(3, 2))


def test_a_mapping_picks_the_classifiers_answers() -> None:
    method, batch = build(source_classes=5, mapping=(4, 0, 2), placement="overlay"), pictures()
    torch.testing.assert_close(method.scores(batch), method.answers(batch)[:, [4, 0, 2]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source_classes": 5}, "give a 'mapping'"),
        ({"source_classes": 5, "mapping": (0, 1)}, "expected 3 below 5"),
        ({"mapping": (0, 1, 3)}, "expected 3 below 3"),
        ({"source_classes": 2}, "3 classes cannot be told apart by a classifier of 2"),
        ({"crop_from_px": 20}, "expected more than the 24 pixels"),
        ({"crop_from_px": 40, "placement": "overlay"}, "shrinks no image"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        build(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mapping": (0, 0, 1)}, "none to two"),
        ({"mapping": ()}, "at least 1 item"),
        ({"head": "text"}, "needs embeddings"),
        ({"head": "text", "mapping": (0, 1, 2)}, "no effect with head 'text'"),
        ({"template": "an x-ray of {}"}, "no effect with head 'classifier'"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EVPConfig.model_validate(settings)


def test_braces_of_a_template_other_than_those_for_the_name_are_text() -> None:
    assert class_texts(("Left-Lung",), template="{} in {this} {0} film") == ("left lung in {this} {0} film",)
    EVPConfig(weights=FrozenWeights(name="clip", sha256="0" * 64), head="text", template="{} in {this} {0} film")


def test_labels_outside_of_the_classes_are_counted_and_not_shown() -> None:
    batch = Batch(images=pictures().images, labels=torch.tensor([0, 1, 2, 3, 7, 0]))
    with pytest.raises(DataError, match="2 labels are outside of the 3 classes"):
        build().training_step(batch, Clock())
    with pytest.raises(DataError, match="found none"):
        build().training_step(Batch(images=batch.images), Clock())


def test_segmentation_is_refused() -> None:
    with pytest.raises(SpecError, match="one class an image"):
        build(contract=COLOUR.model_copy(update={"task": Task.SEGMENTATION}))


def test_a_study_without_classes_is_refused() -> None:
    with pytest.raises(SpecError, match="the study has none"):
        build(contract=COLOUR.model_copy(update={"classes": ()}))


# --- Frozen networks.


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    return tmp_path


def stored(
    folder: Path, state: dict[str, Tensor], name: str = "tower", *, classes: tuple[str, ...] | None = None
) -> FrozenWeights:
    """A file, which notes the classes that it was trained for if there are any."""
    path = folder / f"{name}.safetensors"
    facts = {} if classes is None else {"facts": json.dumps({"plan": {"contract": {"classes": classes}}})}
    save_file({key: tensor.contiguous() for key, tensor in state.items()}, path, metadata=facts)
    return FrozenWeights(name=name, sha256=file_digest(path))


def classifier() -> Method:
    with seeded(9):
        built = registry.resolve("methods", "supervised").default().build(backbone=network(), contract=COLOUR)
        torch.nn.init.normal_(built.head.weight)
    assert isinstance(built, Method)
    return built


def test_a_file_gives_the_network_and_only_the_border_is_state(folder: Path) -> None:
    source = classifier()
    method = build(weights=stored(folder, source.state_dict()), placement="overlay")
    assert list(method.state_dict()) == ["prompt.border"]
    assert method.notes[0].startswith("frozen network: frozen weights 'tower', sha256 ")
    torch.testing.assert_close(method.predict_batch(pictures()), source.predict(pictures().images), atol=1e-5, rtol=0)


def test_a_residual_network_of_torchvision_is_prompted_through_some_of_its_classes(folder: Path) -> None:
    """With the names of the published file, ``fc`` for the classifier, and the standard of ImageNet."""
    with seeded(2):
        form = registry.resolve("backbones", "resnet").default(width=2, depths=(1, 1, 1, 1))
        source = form.build(image_px=32, channels=3).eval()
        classes = torch.nn.Linear(64, 7)
    state = source.state_dict() | {f"fc.{name}": tensor for name, tensor in classes.state_dict().items()}
    config = EVPConfig(
        weights=stored(folder, state),
        source_classes=7,
        mapping=(5, 0, 3),
        normalisation="imagenet",
        placement="overlay",
    )
    method, batch = EVP(config, backbone=form.build(image_px=32, channels=3), contract=COLOUR), pictures()
    pixels = (batch.images * batch.std + batch.mean).clamp(0, 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = classes(source((pixels - mean.view(3, 1, 1)) / std.view(3, 1, 1)))[:, [5, 0, 3]]
    torch.testing.assert_close(method.scores(batch), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_transformer_of_timm_is_read_where_its_classifier_was_trained(
    folder: Path, pool: Literal["token", "avg"]
) -> None:
    """On the class token, as in DeiT, with a ``norm``, or on the mean of the patches, with an ``fc_norm``."""
    with seeded(2):
        published = VisionTransformer(
            img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=3, global_pool=pool
        ).eval()
        for parameter in published.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    weights = stored(folder, published.state_dict())
    method, batch = build(weights=weights, placement="overlay", normalisation="imagenet"), pictures()
    seen = standardised((batch.images * batch.std + batch.mean).clamp(0, 1), "imagenet")
    torch.testing.assert_close(method.scores(batch), published(seen), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(method.answers(batch), published(seen), atol=1e-4, rtol=1e-4)


def probe(**settings: Any) -> Method:
    config = registry.resolve("methods", "probe").default(weights="as_built", **settings)
    built = config.build(backbone=network(), contract=COLOUR)
    assert isinstance(built, Method)
    return built


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"features": "class_token"}, "trained on the class token"),
        ({"normalisation": "clip"}, "set normalisation: clip"),
    ],
)
def test_a_probe_that_reads_otherwise_is_refused(folder: Path, settings: dict[str, Any], message: str) -> None:
    """As the previous stage, and as a file of a run or an exported one."""
    source = probe(**settings)
    with pytest.raises(SpecError, match=message):
        build(weights="previous").inherit(source.state_dict(), source)
    plan = {"plan": {"notes": source.notes}}
    for metadata in ({"facts": json.dumps(plan)}, {"model": json.dumps({"method": {"name": "probe", **settings}})}):
        save_file(source.state_dict(), path := folder / "probed.safetensors", metadata=metadata)
        with pytest.raises(CheckpointError, match=message):
            build(weights=FrozenWeights(name="probed", sha256=file_digest(path)))


@pytest.mark.parametrize("noted", ["plan", "model"])
def test_a_network_that_was_trained_on_the_sites_own_standard_is_shown_no_other(folder: Path, noted: str) -> None:
    """``site`` is noted by saying nothing; a method without the setting has no other."""
    described = {"method": {"normalisation": None}, "backbone": None}
    metadata = {"facts": json.dumps({"plan": {}})} if noted == "plan" else {"model": json.dumps(described)}
    save_file(classifier().state_dict(), path := folder / "trained.safetensors", metadata=metadata)
    weights = FrozenWeights(name="trained", sha256=file_digest(path))
    with pytest.raises(CheckpointError, match="of the standard 'site', and evp would show it those of 'imagenet'"):
        build(weights=weights, normalisation="imagenet")
    build(weights=weights)


def test_a_probe_that_reads_as_evp_does_is_taken() -> None:
    source, method = probe(normalisation="clip"), build(weights="previous", normalisation="clip", placement="overlay")
    method.inherit(source.state_dict(), source)
    torch.testing.assert_close(method.predict_batch(pictures()), source.predict_batch(pictures()))


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="'tower' do not fit the stage's backbone"):
        build("clip_vit", weights=stored(folder, classifier().state_dict()))
    backbone_alone = {f"backbone.{name}": tensor for name, tensor in network().state_dict().items()}
    with pytest.raises(CheckpointError, match=r"expected 'head.weight' of shape \(3, 16\), found nothing"):
        build(weights=stored(folder, backbone_alone))


def test_a_classifier_of_the_same_classes_in_another_order_needs_a_mapping(folder: Path) -> None:
    state = classifier().state_dict()
    build(weights=stored(folder, state, "same", classes=CLASSES))
    turned = stored(folder, state, "turned", classes=("covid", "normal", "pneumonia"))
    with pytest.raises(CheckpointError, match="'turned' names the classes covid, normal, pneumonia, the study normal"):
        build(weights=turned)
    assert build(weights=turned, mapping=(1, 2, 0)).head.get_buffer("mapping").tolist() == [1, 2, 0]


def test_another_digest_and_a_pickle_are_refused(folder: Path) -> None:
    weights = stored(folder, classifier().state_dict())
    with pytest.raises(CheckpointError, match="not those that the spec names"):
        build(weights=weights.model_copy(update={"sha256": "0" * 64}))
    torch.save(classifier().state_dict(), folder / "old.pth")
    with pytest.raises(CheckpointError, match="pickled checkpoint"):
        build(weights=FrozenWeights(name="old", sha256="0" * 64))


def test_the_previous_stage_is_frozen_and_only_the_border_travels() -> None:
    source, method = classifier(), build(weights="previous", placement="overlay")
    inheritance = method.inherit(source.state_dict(), source)
    assert inheritance.new == ("prompt.border",)
    assert not inheritance.dropped
    torch.testing.assert_close(method.predict_batch(pictures()), source.predict(pictures().images), atol=1e-5, rtol=0)
    shared, _ = Partition(manifest_of(method), method.rules()).split(arrays_of(method))
    assert {name: array.nbytes for name, array in shared.items()} == {"prompt.border": 4 * 3 * (32**2 - 24**2)}


def test_a_previous_stage_without_a_classifier_is_refused() -> None:
    source = classifier()
    state = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith("head.")}
    with pytest.raises(CheckpointError, match=r"lacks 'head.weight': put a stage of supervised"):
        build(weights="previous").inherit(state, source)


def test_a_network_that_nobody_gives_is_refused_in_the_spec() -> None:
    stage = {"name": "prompt", "method": "evp", "backbone": {"name": "vit"}, "rounds": 1}
    with pytest.raises(SpecError, match="reads the network of the stage before"):
        Spec.parse({"name": "s", "dataset": {"name": "d", "image_px": 32}, "stages": [stage]})


def test_a_prompt_of_another_network_is_refused(folder: Path) -> None:
    source = classifier()
    one, other = (
        stored(folder, {**source.state_dict(), "head.bias": torch.full((3,), b)}, f"t{b:.0f}") for b in (0, 1)
    )
    trained, target = build(weights=one), build(weights=other)
    with pytest.raises(SpecError, match="a prompt serves the network"):
        target.inherit(trained.state_dict(), trained)
    with pytest.raises(SpecError, match="a prompt serves the network"):
        build(weights=one, normalisation="clip").inherit(trained.state_dict(), trained)


def test_a_finished_stage_notes_what_pixels_were_standardised_by() -> None:
    assert not any("standardised" in note for note in build().notes)
    assert standard_note("clip") in build(normalisation="clip").notes


@pytest.mark.parametrize("method", [{"name": "evp", "weights": "previous"}, {"name": "probe", "weights": "previous"}])
def test_a_frozen_network_is_that_of_the_stage_before(method: dict[str, Any]) -> None:
    """The same weights with other heads have the same shapes, and say something else."""
    one, other = ({"name": "vit", "width": 16, "depth": 2, "heads": heads, "patch_px": 8} for heads in (2, 4))

    def spec(backbone: dict[str, Any]) -> Spec:
        first = {"name": "train", "method": "supervised", "backbone": one, "rounds": 1}
        then = {"name": "next", "method": method, "start_from": "previous", "backbone": backbone, "rounds": 1}
        return Spec.parse({"name": "s", "dataset": {"name": "d", "image_px": 32}, "stages": [first, then]})

    assert len(spec(one).stages) == 2
    with pytest.raises(SpecError, match="stage 'next' freezes the network of the stage before"):
        spec(other)


def test_a_prompt_that_was_saved_gives_the_same_predictions(folder: Path) -> None:
    weights = stored(folder, classifier().state_dict())
    trained, again = build(weights=weights), build(weights=weights, seed=5)
    step(trained, pictures())
    again.load_state_dict(trained.state_dict())
    assert torch.equal(trained.predict_batch(pictures()), again.predict_batch(pictures()))


def test_what_cuts_a_network_is_refused() -> None:
    method = build()
    with pytest.raises(SpecError, match="personalise with ditto or local_only"):
        method.backbone.channel_groups()


def test_the_test_split_selects_nothing() -> None:
    stage = {"name": "prompt", "method": {"name": "evp", "weights": "as_built"}, "backbone": "vit", "rounds": 1}
    values = {"name": "s", "dataset": {"name": "d", "image_px": 32}, "stages": [stage]}
    with pytest.raises(SpecError, match="the test split must not"):
        Spec.parse({**values, "evaluate": {"split": "test", "best": "accuracy"}})


def test_gradients_averaged_over_sites_make_the_pooled_step() -> None:
    """Plain steps of two sites, averaged by images and normalised once, are the step of one pool."""
    batch = pictures(9)
    parts = [Batch(images=images, labels=labels, mean=0.4, std=0.25) for images, labels in _parted(batch, (3, 6))]
    method = build()
    whole = sum(len(part) / 9 * gradients(method, part)[0] for part in parts)
    assert isinstance(whole, Tensor)
    averaged = sum(len(part) / 9 * step(build(normalise_gradient=False), part) for part in parts)
    torch.testing.assert_close(averaged / whole.norm(), step(method, batch), atol=1e-6, rtol=1e-5)


def _parted(batch: Batch, sizes: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
    assert batch.labels is not None
    return list(zip(torch.split(batch.images, list(sizes)), torch.split(batch.labels, list(sizes)), strict=True))


# --- CLIP.


def clip_state(side: int = 32) -> dict[str, Tensor]:
    """A small CLIP of open_clip with random weights, by its published names."""
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg  # noqa: PLC0415 - seconds, and only here

    image = CLIPVisionCfg(layers=2, width=128, head_width=64, patch_size=8, image_size=side)
    text = CLIPTextCfg(context_length=16, vocab_size=49408, width=64, heads=1, layers=1)
    with seeded(4):
        model = CLIP(embed_dim=8, vision_cfg=image, text_cfg=text, quick_gelu=True).eval()
    return {**model.state_dict(), "_images": model.encode_image(pixels()).detach(), "_texts": _texts_of(model)}


def _texts_of(model: torch.nn.Module) -> Tensor:
    from open_clip.tokenizer import SimpleTokenizer  # noqa: PLC0415 - seconds, and only here

    tokens = SimpleTokenizer(context_length=16)([f"this is a photo of a {name}" for name in CLASSES])
    texts: Tensor = model.encode_text(tokens).detach()  # type: ignore[operator]
    return texts


def pixels() -> Tensor:
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(6))


FORM = CLIPViTConfig(width=128, depth=2, heads=2, patch_px=8, features=8)


def test_features_are_those_of_open_clip(folder: Path) -> None:
    """Images, texts and 100 times their cosine; texts embedded twice are equal."""
    state = clip_state()
    images, texts = state.pop("_images"), state.pop("_texts")
    config = EVPConfig(weights=stored(folder, state), head="text")
    first, second = (config.build(backbone=FORM.build(image_px=32, channels=3), contract=COLOUR) for _ in range(2))
    torch.testing.assert_close(first.backbone(pixels()), images, atol=1e-5, rtol=1e-5)
    scale = state["logit_scale"].exp()
    cosines = torch.nn.functional.cosine_similarity(images[:, None], texts[None], dim=2)
    torch.testing.assert_close(first.head(images), scale * cosines, atol=1e-4, rtol=0)
    assert torch.equal(first.head.embeddings, second.head.embeddings)
    assert list(first.state_dict()) == ["prompt.border"]


def test_a_class_name_longer_than_the_tower_reads_is_refused(folder: Path) -> None:
    state = {name: tensor for name, tensor in clip_state().items() if not name.startswith("_")}
    contract = Contract(classes=("a", "b", "very " * 20), channels=3)
    with pytest.raises(SpecError, match="tokens, and the tower reads 16"):
        EVPConfig(weights=stored(folder, state), head="text").build(
            backbone=FORM.build(image_px=32, channels=3), contract=contract
        )


def test_embeddings_may_come_as_a_file_of_their_own(folder: Path) -> None:
    weights = stored(folder, {f"backbone.{n}": t for n, t in network("vit").state_dict().items()})
    good = stored(folder, {"embeddings": torch.randn(3, 16), "logit_scale": torch.tensor(np.log(10.0))}, "good")
    bad = stored(folder, {"embeddings": torch.randn(2, 16)}, "bad")
    method = build(weights=weights, head="text", embeddings=good)
    assert method.scores(pictures()).abs().max() <= 10.001
    assert method.notes[1].startswith("class embeddings: frozen weights 'good'")
    with pytest.raises(CheckpointError, match=r"have shape \(2, 16\), expected \(3, 16\)"):
        build(weights=weights, head="text", embeddings=bad)


@pytest.mark.parametrize(
    ("scale", "found"), [(torch.tensor(50.0), "50"), (torch.tensor([1000.0]), "1000"), (torch.ones(2), "1, 1")]
)
def test_a_scale_that_is_no_logarithm_is_refused(folder: Path, scale: Tensor, found: str) -> None:
    """A file may also hold it with one axis, as some programs write every number."""
    weights = stored(folder, {f"backbone.{n}": t for n, t in network("vit").state_dict().items()})
    head = {"embeddings": torch.randn(3, 16)}
    with pytest.raises(CheckpointError, match=f"natural logarithm .* at most 10, found {found}$"):
        build(weights=weights, head="text", embeddings=stored(folder, {**head, "logit_scale": scale}, "bad"))
    one = stored(folder, {**head, "logit_scale": torch.tensor([2.0])}, "one")
    assert build(weights=weights, head="text", embeddings=one).head.scale == pytest.approx(np.exp(2.0))


def test_embeddings_that_are_not_finite_are_refused(folder: Path) -> None:
    weights = stored(folder, {f"backbone.{n}": t for n, t in network("vit").state_dict().items()})
    with pytest.raises(CheckpointError, match=r"'bad.safetensors' hold numbers in 'embeddings' that are not finite"):
        build(
            weights=weights,
            head="text",
            embeddings=stored(folder, {"embeddings": torch.full((3, 16), torch.nan)}, "bad"),
        )


def test_an_embedding_of_zeros_has_no_direction(folder: Path) -> None:
    rows = torch.randn(3, 16)
    rows[1] = 0
    weights, bad = stored(folder, network("vit").state_dict()), stored(folder, {"embeddings": rows}, "bad")
    with pytest.raises(CheckpointError, match=r"the class embedding of '.*' is all zeros"):
        build(weights=weights, head="text", embeddings=bad)


def test_a_file_without_texts_needs_embeddings(folder: Path) -> None:
    weights = stored(folder, {f"backbone.{n}": t for n, t in network("vit").state_dict().items()})
    with pytest.raises(CheckpointError, match="has no text tower of CLIP"):
        build(weights=weights, head="text")
