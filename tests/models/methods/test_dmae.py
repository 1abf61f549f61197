"""DMAE: counts, shapes, who sees what, what has a gradient, whose weights fit, and what travels."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from fedward_core.cards import Contract
from fedward_core.errors import CheckpointError, SpecError
from fedward_core.manifest import Kind
from fedward_core.partition import Partition, Role
from fedward_core.spec import Local, Schedule, Spec
from fedward_models.backbones.small_cnn.config import SmallCNNConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.backbones.vit.vit import ViT
from fedward_models.batch import Batch
from fedward_models.building import manifest_of
from fedward_models.frozen import file_digest
from fedward_models.layers.masking import Mask
from fedward_models.layers.transformer import layer_norm
from fedward_models.losses.patch_reconstruction import patch_reconstruction
from fedward_models.method import Method
from fedward_models.methods.dmae.config import DMAEConfig
from fedward_models.methods.dmae.dmae import DMAE, three_quarters
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.mae.mae import MAE
from fedward_models.methods.sdmp.config import SDMPConfig
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.step import Clock
from fedward_models.training.optimizer import build_optimizer
from fedward_models.training.schedule import learning_rate
from fedward_models.weights import arrays_of

COLOUR = Contract(classes=("normal", "pneumonia"), channels=3)
TINY: dict[str, Any] = {"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2}
TEACHER: dict[str, Any] = {"width": 32, "depth": 4, "heads": 2}


def student(**settings: Any) -> Any:
    return ViTConfig(**{"width": 24, "depth": 4, "heads": 3, "patch_px": 8, **settings})


def build(*, teacher: dict[str, Any] = TEACHER, contract: Contract = COLOUR, seed: int = 0, **settings: Any) -> DMAE:
    torch.manual_seed(seed)
    backbone = student().build(image_px=32, channels=contract.channels)
    method = DMAEConfig(**{"teacher": teacher, **TINY, **settings}).build(backbone=backbone, contract=contract)
    assert isinstance(method, DMAE)
    return method


def masked_autoencoder(*, contract: Contract = COLOUR, **settings: Any) -> MAE:
    """A stage of MAE with the teacher's form, or with the form that is named."""
    torch.manual_seed(7)
    backbone = student(**{**TEACHER, **settings}).build(image_px=32, channels=contract.channels)
    method = MAEConfig(**TINY).build(backbone=backbone, contract=contract)
    assert isinstance(method, MAE)
    return method


def published(**settings: Any) -> DMAE:
    """ViT-B from ViT-L at 224 pixels, without memory for the weights."""
    values = {"teacher": {"width": 1024, "depth": 24, "heads": 16}, "decoder_width": 512, "decoder_heads": 16}
    with torch.device("meta"):
        backbone = student(width=768, depth=12, heads=12, patch_px=16).build(image_px=224, channels=3)
        method = DMAEConfig(**{**values, "decoder_depth": 8, **settings}).build(backbone=backbone, contract=COLOUR)
    assert isinstance(method, DMAE)
    return method


def drawn(method: Method, images: Tensor, seed: int = 0) -> Batch:
    return method.prepare(Batch(images=images), torch.Generator().manual_seed(seed))


def pictures(size: int = 4, *, channels: int = 3) -> Tensor:
    return torch.randn(size, channels, 32, 32, generator=torch.Generator().manual_seed(3))


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_published_networks_have_the_published_numbers_of_parameters() -> None:
    """Check 1: student, decoder, projection, and the teacher that is left below its last tap."""
    method = published()
    tables = method.backbone.pos_embed.numel()
    assert num_parameters(method.backbone) - tables + num_parameters(method.norm) == 85_647_360
    assert num_parameters(method.decoder) == 26_008_320
    assert num_parameters(method.projections) == 787_456
    network = method.teacher.network
    assert num_parameters(network) - network.pos_embed.numel() == 227_520_512


@pytest.mark.parametrize(
    ("width", "heads", "encoder", "projection"), [(192, 3, 5_486_592, 148_224), (384, 6, 21_590_016, 295_680)]
)
def test_the_small_students_of_a_vit_b_have_the_published_numbers_of_parameters(
    width: int, heads: int, encoder: int, projection: int
) -> None:
    """Check 1."""
    with torch.device("meta"):
        backbone = student(width=width, depth=12, heads=heads, patch_px=16).build(image_px=224, channels=3)
        config = DMAEConfig(teacher={"width": 768, "depth": 12, "heads": 12})
        method = config.build(backbone=backbone, contract=COLOUR)
    tables = method.backbone.pos_embed.numel()
    assert num_parameters(method.backbone) - tables + num_parameters(method.norm) == encoder
    assert num_parameters(method.projections) == projection


@pytest.mark.parametrize(
    ("mask_ratio", "rounding", "visible"),
    [
        (0.75, "floor", 49),
        (0.9, "floor", 19),
        (0.95, "floor", 9),
        (0.98, "floor", 3),
        (0.95, "round", 10),
        (0.98, "round", 4),
    ],
)
def test_visible_patches_are_counted_as_the_code_or_as_the_paper_counts(
    mask_ratio: float, rounding: str, visible: int
) -> None:
    """Check 2."""
    assert published(mask_ratio=mask_ratio, visible_count=rounding).num_visible == visible


def test_the_published_networks_have_the_published_shapes() -> None:
    """Check 3."""
    method = published()
    assert method.taps == ((8, 17),)
    with torch.device("meta"):
        images = torch.empty(2, 3, 224, 224)
        mask = method.mask(Batch(images=images, drawn={"noise": torch.empty(2, 196)}))
        passed, wanted = method.student_pass(images, mask), method.teacher(images, mask)
    assert passed.painted.shape == (2, 196, 768)
    assert passed.projected[0].shape == wanted[0].shape == (2, 50, 1024)


@pytest.mark.parametrize(("depth", "index"), [(12, 8), (24, 17), (4, 2), (6, 4), (1, 0), (5, 3)])
def test_three_quarters_of_the_depth_are_aligned(depth: int, index: int) -> None:
    assert three_quarters(depth) == index


def test_a_teacher_that_stops_early_gives_the_bits_of_one_that_runs_to_its_end() -> None:
    """Check 5: blocks above the last tap do not exist, so they cannot run."""
    source, method = masked_autoencoder(), build()
    method.inherit(source.state_dict(), source)
    mask = method.mask(drawn(method, pictures()))
    seen: list[Tensor] = []
    source.backbone.blocks[2].register_forward_hook(lambda _, __, output: seen.append(output))
    source.encode(pictures(), mask)
    assert len(method.teacher.network.blocks) == 3
    assert torch.equal(method.teacher(pictures(), mask)[0], seen[0])


def test_the_encoder_of_whole_images_is_that_of_timm() -> None:
    """Check 6, with seeded weights in place of a download."""
    torch.manual_seed(0)
    reference = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=32, depth=4, num_heads=2, num_classes=0, norm_layer=layer_norm
    ).eval()
    network = student(**TEACHER).build(image_px=32, channels=3)
    network.become_encoder()
    weights = {name: tensor for name, tensor in reference.state_dict().items() if not name.startswith("norm.")}
    network.load_state_dict(weights)
    with torch.no_grad():
        found = reference.get_submodule("norm")(network.encode(network.embed(pictures())))
        torch.testing.assert_close(found, reference.forward_features(pictures()), atol=1e-5, rtol=0)


@pytest.mark.slow  # importing transformers takes seconds
@pytest.mark.parametrize("norm_pixels", [False, True])
def test_the_pixel_loss_is_that_of_transformers(norm_pixels: bool) -> None:
    """Check 7: another library's network, its masks and its loss, from one noise."""
    from transformers import ViTMAEConfig, ViTMAEForPreTraining  # noqa: PLC0415

    method = build(norm_pixels=norm_pixels)
    batch = drawn(method, pictures())
    config = ViTMAEConfig(
        hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=16, image_size=32, patch_size=8,
        decoder_hidden_size=16, decoder_num_attention_heads=2, decoder_num_hidden_layers=1,
        decoder_intermediate_size=16, norm_pix_loss=norm_pixels,
    )  # fmt: skip
    with torch.no_grad():
        theirs = ViTMAEForPreTraining(config)(batch.images, noise=batch.drawn["noise"])
    hidden = method.mask(batch).hidden
    assert torch.equal(theirs.mask.bool(), hidden)
    ours = patch_reconstruction(theirs.logits, method.target(batch.images), hidden).mean()
    torch.testing.assert_close(ours, theirs.loss, atol=1e-5, rtol=0)


def by_hand(network: ViT, image: Tensor, noise: Tensor, *, visible: int, block: int) -> Tensor:
    """Tokens of one image after a block: the patches with the smallest noise, in its order, one by one."""
    patches = network.embed(image[None])[0]
    chosen = sorted(range(len(patches)), key=lambda patch: float(noise[patch]))[:visible]
    tokens = torch.stack([network.cls_token[0, 0] + network.pos_embed[0, 0], *(patches[patch] for patch in chosen)])
    for part in network.blocks[: block + 1]:
        tokens = part(tokens[None])[0]
    return tokens


def test_teacher_and_student_see_the_patches_that_the_noise_chooses() -> None:
    """Check 8: beside patches that are picked by hand from the same noise."""
    method = build()
    batch = drawn(method, pictures())
    mask, ((ours, theirs),) = method.mask(batch), method.taps
    student, teacher = method.student_pass(batch.images, mask).projected[0], method.teacher(batch.images, mask)[0]
    for i, (image, noise) in enumerate(zip(batch.images, batch.drawn["noise"], strict=True)):
        expected = method.projections[0](by_hand(method.backbone, image, noise, visible=4, block=ours))
        torch.testing.assert_close(student[i], expected, atol=1e-5, rtol=1e-5)
        expected = by_hand(method.teacher.network, image, noise, visible=4, block=theirs)
        torch.testing.assert_close(teacher[i], expected, atol=1e-5, rtol=1e-5)


def test_hidden_pixels_reach_no_token_but_the_pixel_loss() -> None:
    """Check 9."""
    method = build()
    batch = drawn(method, pictures())
    hidden = method.mask(batch).hidden.view(4, 4, 4).repeat_interleave(8, 1).repeat_interleave(8, 2).unsqueeze(1)
    other = Batch(images=torch.where(hidden, -batch.images, batch.images), drawn=batch.drawn)
    before, after = (method.training_step(one, Clock()).figures for one in (batch, other))
    assert torch.equal(before["alignment_loss"], after["alignment_loss"])
    assert not torch.equal(before["pixel_loss"], after["pixel_loss"])


def test_the_order_of_visible_patches_does_not_matter() -> None:
    """Check 10."""
    method = build().double()
    batch = drawn(method, pictures().double())
    mask = method.mask(batch)
    turned = Mask(visible=mask.visible.flip(1), restore=mask.restore, hidden=mask.hidden)
    for there, back in (
        (method.teacher(batch.images, mask)[0], method.teacher(batch.images, turned)[0]),
        (method.student_pass(batch.images, mask).projected[0], method.student_pass(batch.images, turned).projected[0]),
    ):
        torch.testing.assert_close(back[:, 1:], there[:, 1:].flip(1), atol=1e-6, rtol=1e-6)


def test_a_student_that_is_its_own_teacher_is_aligned() -> None:
    """Check 11, first part; the others are in ``test_feature_alignment``."""
    method = build(teacher={"width": 24, "depth": 4, "heads": 3})
    method.teacher.adopt({f"backbone.{name}": tensor for name, tensor in method.backbone.state_dict().items()})
    with torch.no_grad():
        projection = method.projections[0]
        assert isinstance(projection, nn.Linear)
        projection.weight.copy_(torch.eye(24))
        projection.bias.zero_()
    figures = method.training_step(drawn(method, pictures()), Clock()).figures
    assert float(figures["alignment_loss"]) == pytest.approx(0, abs=1e-7)


def test_the_pixel_loss_reads_hidden_patches_alone() -> None:
    """Checks 13 and 14."""
    target, hidden = torch.randn(2, 16, 5), torch.rand(2, 16) > 0.3
    assert not patch_reconstruction(target, target, hidden).any()
    torch.testing.assert_close(patch_reconstruction(target + 0.7, target, hidden), torch.full((2,), 0.49))
    visible_changed = torch.where(hidden.unsqueeze(-1), target + 0.7, torch.randn(2, 16, 5))
    torch.testing.assert_close(patch_reconstruction(visible_changed, target, hidden), torch.full((2,), 0.49))


def test_the_alignment_trains_only_what_lies_below_the_tap() -> None:
    """Check 15; no gradient at all above it, and none for the teacher, whose weights stand still in a step."""
    method = build()
    batch = drawn(method, pictures())
    before = {name: tensor.clone() for name, tensor in method.teacher.state_dict().items()}
    method._losses(batch)[1].mean().backward()  # type: ignore[no-untyped-call]
    reached = {name for name, parameter in method.named_parameters() if parameter.grad is not None}
    above = ("backbone.blocks.3.", "norm.", "decoder.", "teacher.", "backbone.pos_embed")
    assert reached == {name for name, _ in method.named_parameters() if not name.startswith(above)}
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.1)
    method.training_step(batch, Clock()).loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    assert all(torch.equal(tensor, before[name]) for name, tensor in method.teacher.state_dict().items())


def test_four_small_batches_accumulate_to_a_large_one() -> None:
    """Check 16: every image hides as many patches, so means of means are means."""
    method = build()
    batch = drawn(method, pictures(8))
    pieces = [
        Batch(images=images, drawn={"noise": noise})
        for images, noise in zip(batch.images.chunk(4), batch.drawn["noise"].chunk(4), strict=True)
    ]
    whole = method.training_step(batch, Clock()).loss
    parts = torch.stack([method.training_step(piece, Clock()).loss for piece in pieces]).mean()
    torch.testing.assert_close(whole, parts)


@pytest.mark.parametrize(("base", "batch", "warmup", "final"), [(1.5e-4, 4096, 20, 0.0), (5e-4, 1024, 20, 1e-6)])
def test_the_rate_starts_at_0_peaks_after_the_warm_up_and_ends_at_its_minimum(
    base: float, batch: int, warmup: int, final: float
) -> None:
    """Check 17: distillation 2.4e-3, fine-tuning 2e-3."""
    schedule, peak = Schedule(shape="cosine", warmup_rounds=warmup, final_lr=final), base * batch / 256
    rates = [learning_rate(schedule, peak=peak, clock=Clock(round=at, rounds=100)) for at in (0, warmup, 100)]
    assert peak == pytest.approx(2.4e-3 if batch == 4096 else 2e-3)
    assert rates == pytest.approx([0, peak, final])


def fine_tuning(backbone: Any) -> Method:
    method = SupervisedConfig().build(backbone=backbone, contract=COLOUR)
    assert isinstance(method, Method)
    return method


def test_fine_tuning_decays_the_rate_by_layer() -> None:
    """Check 18: head 1, last block 0.75, first block 0.75^12, embeddings 0.75^13."""
    method = fine_tuning(student(width=8, depth=12, heads=1).build(image_px=32, channels=3))
    parameters = dict(method.named_parameters())
    groups = build_optimizer(method, parameters, Local(layer_decay=0.75)).param_groups
    scale = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    found = {
        name: scale[id(parameters[name])]
        for name in ("head.weight", "backbone.blocks.11.norm1.weight", "backbone.blocks.0.norm1.weight")
    }
    assert list(found.values()) == pytest.approx([1, 0.75, 0.75**12])
    assert scale[id(parameters["backbone.patch_embed.proj.weight"])] == pytest.approx(0.75**13)


def test_fine_tuning_takes_the_encoder_and_leaves_the_rest() -> None:
    """Check 19."""
    source, target = build(), fine_tuning(student().build(image_px=32, channels=3))
    inheritance = target.inherit(source.state_dict(), source)
    assert {name.split(".")[0] for name in inheritance.dropped} == {"norm", "decoder", "projections", "teacher"}
    assert set(inheritance.new) == {"head.weight", "head.bias", "backbone.fc_norm.weight", "backbone.fc_norm.bias"}
    assert not inheritance.cloned


def test_what_was_saved_goes_on_to_the_same_loss() -> None:
    """Check 20."""
    first, second = build(), build(seed=1)
    steps(first, 2)
    second.load_state_dict(first.state_dict())
    losses = [method.training_step(drawn(method, pictures(), 5), Clock()).loss for method in (first, second)]
    assert torch.equal(losses[0], losses[1])


def steps(method: Method, count: int) -> None:
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    for step in range(count):
        optimizer.zero_grad()
        method.training_step(drawn(method, pictures(), step), Clock()).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def test_identical_sites_average_to_the_student_that_one_site_trains() -> None:
    """Check 21."""
    sites = [build(), build()]
    for site in sites:
        steps(site, 1)
    states = [Partition(manifest_of(site), site.rules()).split(arrays_of(site))[0] for site in sites]
    average = {name: (states[0][name] + states[1][name]) / 2 for name in states[0]}
    central = build()
    steps(central, 1)
    assert all(np.array_equal(array, arrays_of(central)[name]) for name, array in average.items())


def test_no_tensor_of_the_teacher_and_no_table_of_positions_is_sent() -> None:
    """Check 22."""
    method = build()
    partition = Partition(manifest_of(method), method.rules())
    sent = partition.shared_manifest.names()
    assert not [name for name in sent if name.startswith("teacher.") or "pos" in name]
    assert {name.split(".")[0] for name in sent} == {"backbone", "norm", "decoder", "projections"}
    assert partition.role("teacher.held.cls_token") is Role.PRIVATE
    assert "teacher.held.cls_token" in manifest_of(method).names(Kind.BUFFER)


def test_the_stage_before_becomes_the_teacher() -> None:
    source, method = masked_autoencoder(), build()
    inheritance = method.inherit(source.state_dict(), source)
    assert set(inheritance.cloned) == {f"teacher.{name}" for name in method.teacher.state_dict()}
    assert not inheritance.taken
    expected, found = source.backbone.state_dict(), method.teacher.network.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    (note,) = method.notes
    assert note.startswith("teacher: the previous stage's network, digest ")
    assert note != build().notes[0]


@pytest.mark.parametrize("base", ["moco", "dino"])
def test_a_stage_that_tells_images_apart_becomes_the_teacher_too(base: str) -> None:
    """The paper also distils MoCo v3 and DINO."""
    backbone = student(**TEACHER).build(image_px=32, channels=3)
    source = SDMPConfig.model_validate({"base": base}).build(backbone=backbone, contract=COLOUR)
    method = build()
    inheritance = method.inherit(source.state_dict(), source)
    assert set(inheritance.cloned) == {name for name in method.state_dict() if name.startswith("teacher.")}
    last = "blocks.2.mlp.fc1.weight"
    assert torch.equal(method.teacher.network.get_parameter(last), backbone.get_parameter(last))


def test_a_previous_stage_of_another_form_is_refused() -> None:
    source = masked_autoencoder(width=48)
    with pytest.raises(CheckpointError, match=r"do not fit the teacher: expected 'cls_token' of shape .1, 1, 32"):
        build().inherit(source.state_dict(), source)
    cnn = fine_tuning(SmallCNNConfig(widths=(4,)).build(image_px=32, channels=3))
    with pytest.raises(SpecError, match="with the backbone 'vit'"):
        build().inherit(cnn.state_dict(), cnn)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"heads": 4}, "teacher.heads is 2, and the network of the previous stage has 4"),
        ({"depth": 6}, "teacher.depth is 4, and the network of the previous stage has 6"),
    ],
)
def test_a_previous_stage_of_another_form_with_the_same_shapes_is_refused(form: dict[str, Any], message: str) -> None:
    """Its tokens would be others than those of the network that was trained, and nothing would tell."""
    source = masked_autoencoder(**form)
    with pytest.raises(SpecError, match=message):
        build().inherit(source.state_dict(), source)
    distilled = build(teacher={**TEACHER, **form})
    with pytest.raises(SpecError, match=message):
        build().inherit(distilled.state_dict(), distilled)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    return tmp_path


def stored(folder: Path, state: dict[str, Tensor]) -> dict[str, Any]:
    """The teacher's settings with its weights in a file."""
    path = folder / "teacher.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return {**TEACHER, "weights": {"name": "teacher", "sha256": file_digest(path)}}


@pytest.mark.parametrize("prefix", ["backbone.", ""])
def test_a_file_gives_the_teacher_which_is_then_in_no_state(folder: Path, prefix: str) -> None:
    """Fedward's own checkpoints, and those with the names of timm and MAE."""
    source = masked_autoencoder()
    weights = {f"{prefix}{name}": tensor for name, tensor in source.backbone.state_dict().items()}
    method = build(teacher=stored(folder, weights))
    assert not [name for name in method.state_dict() if name.startswith("teacher.")]
    assert torch.equal(method.teacher.network.cls_token, source.backbone.cls_token)
    assert not method.config.needs_previous
    assert method.config.teacher.weights
    assert method.notes == (f"teacher: frozen weights 'teacher', sha256 {method.config.teacher.weights.sha256}",)
    steps(method, 1)
    assert torch.equal(method.teacher.network.cls_token, source.backbone.cls_token)


def test_a_colour_teacher_reads_grey_images_as_three_equal_channels(folder: Path) -> None:
    grey = Contract(classes=("a", "b"), channels=1)
    teacher = stored(folder, masked_autoencoder().state_dict())
    images = pictures(channels=1)
    on_grey, on_colour = build(teacher=teacher, contract=grey), build(teacher=teacher)
    mask = on_grey.mask(drawn(on_grey, images))
    found, expected = on_grey.teacher(images, mask)[0], on_colour.teacher(images.expand(-1, 3, -1, -1), mask)[0]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_with_a_teacher_from_a_file_the_student_goes_on_from_masked_autoencoding(folder: Path) -> None:
    source = masked_autoencoder(width=24, heads=3)
    method = build(teacher=stored(folder, masked_autoencoder().state_dict()))
    inheritance = method.inherit(source.state_dict(), source)
    assert {name.split(".")[0] for name in inheritance.taken} == {"backbone", "norm", "decoder"}
    assert {name.split(".")[0] for name in inheritance.new} == {"projections"}


def test_weights_that_do_not_fit_are_refused(folder: Path) -> None:
    state = masked_autoencoder().state_dict()
    with pytest.raises(CheckpointError, match=r"expected 'blocks.2.norm1.weight' of shape .32,., found nothing"):
        build(teacher=stored(folder, {n: t for n, t in state.items() if "blocks.2" not in n}))
    other = stored(folder, state)
    with pytest.raises(CheckpointError, match=r"expected 'cls_token' of shape .1, 1, 48., found .1, 1, 32."):
        build(teacher={**other, "width": 48})
    with pytest.raises(CheckpointError, match=r"'teacher' have 4 blocks, more than teacher.depth, which is 3"):
        build(teacher={**other, "depth": 3})
    with pytest.raises(CheckpointError, match=r"'teacher' have 4 blocks, fewer than teacher.depth, which is 5"):
        build(teacher={**other, "depth": 5})
    with pytest.raises(CheckpointError, match="expected sha256 0000"):
        build(teacher={**other, "weights": {"name": "teacher", "sha256": "0" * 64}})


def test_heads_that_were_not_set_to_those_of_a_published_file_are_refused(folder: Path) -> None:
    """They fit by every shape; no published transformer has so many channels to a head."""
    state = masked_autoencoder(width=128, heads=2).backbone.state_dict()
    wide = {**stored(folder, state), "width": 128, "heads": 1}
    with pytest.raises(CheckpointError, match=r"1 heads of 128 channels are not those of 'teacher'"):
        build(teacher=wide)
    build(teacher={**wide, "heads": 2})
    own = {f"backbone.{name}": tensor for name, tensor in state.items()}  # of a stage, whose spec has its heads
    build(teacher={**stored(folder, own), "width": 128, "heads": 1})


def test_a_file_that_was_cut_after_the_aligned_block_has_fewer_blocks(folder: Path) -> None:
    """What tells a whole network is its last norm: ``norm`` of MAE, ``fc_norm`` of a classifier."""
    cut = {n: t for n, t in masked_autoencoder().backbone.state_dict().items() if not n.startswith("blocks.3.")}
    assert build(teacher=stored(folder, cut)).teacher.taps == (2,)
    with pytest.raises(CheckpointError, match=r"3 blocks, fewer than teacher.depth"):
        build(teacher=stored(folder, {**cut, "fc_norm.weight": torch.ones(32)}))


@pytest.mark.parametrize(("name", "found"), [("pos_embed", (17,)), ("patch_embed.proj.weight", (3, 3))])
def test_entries_without_the_usual_axes_are_refused(folder: Path, name: str, found: tuple[int, ...]) -> None:
    grey = Contract(classes=("a", "b"), channels=1)
    odd = {**masked_autoencoder(contract=grey).backbone.state_dict(), name: torch.zeros(found)}
    with pytest.raises(CheckpointError, match=re.escape(f"found {found}")):
        build(teacher=stored(folder, odd), contract=grey)


def test_blocks_without_a_number_are_left_out(folder: Path) -> None:
    build(teacher=stored(folder, {**masked_autoencoder().backbone.state_dict(), "blocks.x.weight": torch.zeros(3)}))


def test_several_pairs_of_blocks_are_aligned_with_a_projection_each() -> None:
    method = build(taps=((0, 1), (3, 2)), projection="mlp", alignment="l2")
    mask = method.mask(drawn(method, pictures()))
    assert len(method.teacher.network.blocks) == 3
    assert [tokens.shape for tokens in method.student_pass(pictures(), mask).projected] == [(4, 5, 32)] * 2
    one = build(taps=((0, 1),), projection="mlp", alignment="l2").training_step(drawn(method, pictures()), Clock())
    both = method.training_step(drawn(method, pictures()), Clock())
    assert float(both.figures["alignment_loss"]) > float(one.figures["alignment_loss"])


def test_training_draws_views_where_the_settings_say_so_and_evaluation_never() -> None:
    plain, cropped = build(), build(view={"crop_scale": [0.2, 0.5]})
    assert not torch.equal(drawn(cropped, pictures()).images, pictures())
    assert torch.equal(drawn(plain, pictures()).images, pictures())
    assert torch.equal(plain.predict(pictures()), cropped.predict(pictures()))


def test_the_weight_of_the_alignment_scales_it_alone() -> None:
    light, heavy = (build(alignment_weight=weight) for weight in (1.0, 10.0))
    batch = drawn(light, pictures())
    first, second = light.training_step(batch, Clock()), heavy.training_step(batch, Clock())
    torch.testing.assert_close((second.loss - first.loss).detach(), 9 * first.figures["alignment_loss"])


def test_settings_that_leave_nothing_are_refused() -> None:
    with pytest.raises(SpecError, match="hides 16 of 16 patches"):
        build(mask_ratio=0.95)
    with pytest.raises(SpecError, match="patches of one grey pixel have one value"):
        DMAEConfig(norm_pixels=True).build(
            backbone=student(patch_px=1).build(image_px=4, channels=1), contract=Contract(classes=("a",), channels=1)
        )
    with pytest.raises(SpecError, match="a student with 4 blocks"):
        build(taps=((4, 1),))
    with pytest.raises(SpecError, match="a teacher with 4 blocks"):
        build(taps=((1, 4),))
    with pytest.raises(ValidationError, match=r"teacher.width 30 is no multiple of 4"):
        DMAEConfig(teacher={"width": 30, "heads": 3})
    with pytest.raises(ValidationError, match="decoder_width 18 is no multiple"):
        DMAEConfig(decoder_width=18, decoder_heads=3)


def spec_of(**stage: Any) -> Spec:
    first = {"name": "pretrain", "method": "mae", "backbone": {"name": "vit", **TEACHER}, "rounds": 1}
    values = {"name": "distil", "method": "dmae", "backbone": "vit", "start_from": "previous", "rounds": 1}
    last = {"name": "finetune", "method": "supervised", "start_from": "previous", "rounds": 1}
    return Spec.parse({"name": "s", "dataset": {"name": "d"}, "stages": [first, {**values, **stage}, last]})


def test_a_spec_names_the_student_beside_the_teacher_and_fine_tunes_the_student() -> None:
    spec = spec_of()
    assert spec.backbone_of(1) is spec.stages[1].backbone
    assert spec.backbone_of(2) is spec.stages[1].backbone


def test_a_spec_without_a_teacher_is_refused() -> None:
    with pytest.raises(SpecError, match="reads the network of the stage before: set start_from: previous"):
        spec_of(start_from="scratch")


def test_a_student_that_goes_on_inherits_its_backbone() -> None:
    weights = {"name": "mae-vit-large", "sha256": "0" * 64}
    with pytest.raises(SpecError, match="leave 'backbone' out"):
        spec_of(method={"name": "dmae", "teacher": {"weights": weights}})
