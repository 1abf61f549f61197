"""MGCA: what is trained when, what travels, what a stage takes over, and reports that say nothing."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from fedward_core.arrays import digest
from fedward_core.cards import Contract, Task
from fedward_core.errors import DataError, SpecError
from fedward_core.partition import Partition
from fedward_core.spec import Local, Schedule, Spec
from fedward_models.backbones.resnet.config import ResNetConfig
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.building import manifest_of, seeded
from fedward_models.frozen import file_digest
from fedward_models.methods.evp.config import EVPConfig
from fedward_models.methods.mae.config import MAEConfig
from fedward_models.methods.mae.mae import MAE
from fedward_models.methods.mgca.config import MGCAConfig
from fedward_models.methods.mgca.heads import Projection
from fedward_models.methods.mgca.mgca import MGCA
from fedward_models.methods.supervised.config import SupervisedConfig
from fedward_models.methods.supervised.supervised import Supervised
from fedward_models.step import Clock
from fedward_models.towers.places import place_features
from fedward_models.towers.vocabulary import built_in_vocabulary
from fedward_models.training.fit import fit
from fedward_models.training.phase import Phase
from fedward_models.training.schedule import learning_rate
from fedward_models.weights import arrays_of

CONTRACT = Contract(classes=("normal", "pneumonia"))
TEXT: dict[str, Any] = {"width": 16, "depth": 1, "heads": 2, "max_tokens": 12}
FORM: dict[str, Any] = {"hidden": 16, "width": 8, "prototypes": 6}
CPU = torch.device("cpu")


def build(*, contract: Contract = CONTRACT, seed: int = 0, text: dict[str, Any] | None = None, **settings: Any) -> MGCA:
    with seeded(seed):
        backbone = ViTConfig(width=16, depth=2, heads=2, patch_px=8).build(image_px=16, channels=1)
        config = MGCAConfig.model_validate({**FORM, "text": TEXT | (text or {}), **settings})
        return MGCA(config, backbone=backbone, contract=contract)


def batch(*reports: str) -> Batch:
    reports = reports or ("No pleural effusion.", "Small left nodule.", "The lungs are clear.", "Large right opacity.")
    images = torch.randn(len(reports), 1, 16, 16, generator=torch.Generator().manual_seed(0))
    return Batch(images=images, reports=reports, labels=torch.arange(len(reports)) % 2, seed=3)


def prepared(method: MGCA, *reports: str) -> Batch:
    return method.prepare(batch(*reports), torch.Generator().manual_seed(0))


class OneBatch:
    """The same four pairs in every step."""

    num_examples, num_steps = 4, 2

    def epoch(self, seed: int) -> Any:
        return iter([batch()] * 2)


def train(method: Any, *, round_: int = 0, epochs: int = 1, trainable: str = ".*") -> None:
    local = Local.model_validate({"batch_size": 4, "epochs": epochs, "optimizer": {"name": "adamw", "lr": 0.01}})
    phases = (Phase(local=local, trainable=trainable),)
    fit(method, OneBatch(), phases, round_=round_, rounds=3, seed=1, device=CPU)


def test_projections_of_the_published_size_have_the_published_parameters() -> None:
    sizes = {"hidden": 2048, "width": 128}
    with torch.device("meta"):
        heads = [Projection(features, **sizes) for features in (768, 2048, 1024)]
        prototypes = build(prototypes=500, width=128).prototypes.numel()
    counts = [sum(parameter.numel() for parameter in head.parameters()) for head in heads]
    assert counts == [1_841_280, 4_462_720, 2_365_568]
    assert prototypes == 64_000
    assert 85_798_656 + 65_190_912 + 4 * counts[0] + prototypes == 158_418_688


def test_all_that_is_compared_has_length_1_and_padding_is_zero() -> None:
    method = build()
    pairs = method.pairs(prepared(method))
    known = ~pairs.padding
    for vectors in (pairs.images, pairs.reports, pairs.places.flatten(0, 1), pairs.words[known]):
        torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)), atol=1e-5, rtol=0)
    assert pairs.words.shape == (4, 11, 8)
    assert pairs.places.shape == (4, 4, 8)
    assert not pairs.words[pairs.padding].any()
    for weights in (pairs.word_weights, pairs.place_weights):
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
        assert not weights.requires_grad


def test_prototypes_rest_in_the_first_epoch_and_have_length_1_after() -> None:
    method = build()
    before = method.prototypes.detach().clone()
    train(method)
    torch.testing.assert_close(method.prototypes.detach(), before)
    train(method, round_=1)
    assert float((method.prototypes.detach() - before).abs().max()) > 1e-3
    method.before_step(Clock())
    torch.testing.assert_close(method.prototypes.detach().norm(dim=1), torch.ones(6))


def test_averaged_prototypes_are_brought_back_to_length_1() -> None:
    first, second = build(), build(seed=1)
    first.prototypes.data = (first.prototypes + second.prototypes).detach() / 2
    assert float(first.prototypes.norm(dim=1).min().detach()) < 0.99
    first.before_step(Clock())
    torch.testing.assert_close(first.prototypes.detach().norm(dim=1), torch.ones(6))


def test_the_length_of_prototypes_does_not_matter_to_the_loss() -> None:
    method = build().eval()
    pairs = method.pairs(prepared(method))
    before = method.losses(pairs)["prototype_loss"].detach()
    method.prototypes.data *= 3
    torch.testing.assert_close(method.losses(pairs)["prototype_loss"].detach(), before)


def test_the_loss_starts_near_the_sum_of_its_uniform_parts() -> None:
    """With the published sizes of what is compared, beside small towers."""
    with seeded(0):
        backbone = ViTConfig(width=24, depth=1, heads=2, patch_px=16).build(image_px=224, channels=1)
        config = MGCAConfig.model_validate({"text": TEXT | {"max_tokens": 112}, "width": 128, "prototypes": 500})
        method = MGCA(config, backbone=backbone, contract=CONTRACT).eval()
    long = " ".join(["small left pleural effusion is seen again"] * 20)
    images = torch.randn(24, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    ready = method.prepare(Batch(images=images, reports=(long,) * 24), torch.Generator())
    with torch.no_grad():
        losses = {name: float(loss.mean()) for name, loss in method.losses(method.pairs(ready)).items()}
    assert losses["pair_loss"] == pytest.approx(2 * torch.tensor(24.0).log().item(), abs=1.5)
    assert losses["token_loss"] == pytest.approx(9.99, abs=1.5)
    assert losses["prototype_loss"] == pytest.approx(6.21, abs=0.5)


def test_the_published_schedule_rises_for_40_percent_and_ends_at_its_last_rate() -> None:
    """Differs: it starts at 0 and not at 1e-8."""
    schedule = Schedule(shape="cosine", warmup_rounds=20, final_lr=1e-8)
    rates = [learning_rate(schedule, peak=2e-5, clock=Clock(round=round_, rounds=50)) for round_ in (0, 20, 50)]
    assert rates == pytest.approx([1e-8, 2e-5, 1e-8], abs=1.1e-8)


def test_pairs_without_words_are_left_out_of_training_and_still_evaluated() -> None:
    method = build(freeze_prototypes_epochs=0).eval()
    all_ = prepared(method, "No effusion seen.", "Left nodule seen.", "Ok.", "")
    some = Batch(images=all_.images[:2], drawn={name: tensor[:2] for name, tensor in all_.drawn.items()})
    torch.testing.assert_close(method.training_step(all_, Clock()).loss, method.training_step(some, Clock()).loss)
    losses = method.evaluation_loss(all_)
    assert losses.shape == (4,)
    assert bool(torch.isfinite(losses).all())


def test_an_empty_report_costs_a_finite_loss_with_the_published_pairing_too() -> None:
    """There its end has the attention of padding, which is none, so that no word of it weighs anything."""
    method = build(text={"legacy_words": True, "legacy_positions": True}, legacy_padding=True).eval()
    losses = method.evaluation_loss(prepared(method, "No effusion seen.", ""))
    assert bool(torch.isfinite(losses).all())


def test_evaluation_reads_whole_images_and_training_draws_views() -> None:
    plain, cropped = build().eval(), build(view={"crop_scale": [0.2, 0.3], "flip": 0}).eval()
    unlabelled = Batch(images=batch().images, reports=batch().reports)
    assert torch.equal(plain.predict_batch(unlabelled), cropped.predict_batch(unlabelled))
    assert not torch.equal(prepared(plain).images, prepared(cropped).images)


def test_pairs_are_told_apart_within_their_own_batch_alone() -> None:
    """In place of gathered negatives: another batch before it changes no loss, another pair in it does."""
    method = build().eval()
    here, there = prepared(method), prepared(method, "Large right mass.", "Clear lungs seen.", "Ribs are intact.")
    alone = method.evaluation_loss(here)
    method.evaluation_loss(there)
    assert torch.equal(method.evaluation_loss(here), alone)
    some = Batch(images=here.images[:3], drawn={name: tensor[:3] for name, tensor in here.drawn.items()})
    assert not torch.allclose(method.evaluation_loss(some), alone[:3])


def test_a_stage_that_mirrors_images_is_refused_since_reports_speak_of_sides() -> None:
    stage = {"name": "pretrain", "method": "mgca", "backbone": "vit", "rounds": 1, "local": {"augment": True}}
    with pytest.raises(SpecError, match=r"local.augment mirrors images, and the reports that method 'mgca' reads"):
        Spec.parse({"name": "s", "dataset": {"name": "d", "kind": "report"}, "stages": [stage]})


def test_too_few_usable_reports_are_counted_and_none_is_quoted() -> None:
    method = build()
    secret = "Zebra."
    with pytest.raises(DataError, match="1 of 3 reports of a batch have 3 words or more") as raised:
        method.training_step(prepared(method, secret, "Left nodule seen.", secret), Clock())
    assert "zebra" not in str(raised.value).lower()
    assert "Zebra" not in repr(batch(secret, secret))


def test_images_without_reports_are_refused() -> None:
    with pytest.raises(DataError, match=re.escape("set dataset.kind to report")):
        build().prepare(Batch(images=torch.zeros(2, 1, 16, 16)), torch.Generator())


def test_reports_that_lose_their_end_are_counted() -> None:
    method = build()
    figures = method.training_step(prepared(method, "left nodule seen", "left " * 30), Clock()).figures
    assert float(figures["cut_reports"]) == 0.5


REPORT = "INDICATION: A cough for weeks.\nFINDINGS: Clear lungs seen.\nIMPRESSION: No effusion."


def test_of_reports_with_headings_only_what_was_seen_may_be_read() -> None:
    method, parts = build(), build(report_part="impression_findings")
    plain = "no effusion clear lungs seen"
    assert torch.equal(prepared(parts, REPORT).drawn["numbers"], prepared(method, plain).drawn["numbers"])
    assert not torch.equal(prepared(method, REPORT).drawn["numbers"], prepared(method, plain).drawn["numbers"])


def test_reports_without_what_is_read_of_them_are_left_out_and_counted() -> None:
    method = build(report_part="impression_findings")
    ready = prepared(method, REPORT, REPORT, "INDICATION: A cough for weeks.", "Clear lungs without headings.")
    assert ready.drawn["usable"].tolist() == [True, True, False, False]
    assert float(method.training_step(ready, Clock()).figures["usable_reports"]) == 0.5


def test_a_residual_network_has_finer_places_than_its_last_map_and_uniform_weights() -> None:
    """MGCA's other tower, whose places are those of the stage before the last."""
    with seeded(0):
        backbone = ResNetConfig(width=2, depths=(1, 1, 1, 1), input_px=64).build(image_px=16, channels=1)
        method = MGCA(MGCAConfig.model_validate({**FORM, "text": TEXT}), backbone=backbone, contract=CONTRACT)
    pairs = method.pairs(prepared(method))
    assert pairs.places.shape == (4, 16, 8)
    assert method.image_head.get_parameter("layers.0.weight").shape[1] == 64
    assert method.place_head.get_parameter("layers.0.weight").shape[1] == 32
    torch.testing.assert_close(pairs.place_weights, torch.full((4, 16), 1 / 16))
    assert pairs.norm_contexts
    train(method)


def test_both_published_systems_have_the_published_parameters() -> None:
    """The residual one: 23,508,032 + 65,190,912 + heads of 2048, 1024 and twice 768 + prototypes."""
    sizes = {"hidden": 2048, "width": 128}
    with torch.device("meta"):
        tower = ResNetConfig(width=64, depths=(3, 4, 6, 3), input_px=299).build(image_px=224, channels=3)
        widths = (tower.num_features, place_features(tower), 768, 768)
        heads = [Projection(features, **sizes) for features in widths]
    parts = [sum(parameter.numel() for parameter in part.parameters()) for part in (tower, *heads)]
    assert sum(parts) + 65_190_912 + 64_000 == 99_273_792


def test_the_image_tower_starts_from_a_file_and_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    source = build(seed=7).backbone
    save_file(source.state_dict(), path := tmp_path / "deit.safetensors")
    weights = {"name": "deit", "sha256": file_digest(path)}
    method = build(image_weights=weights)
    assert digest(arrays_of(method.backbone)) == digest(arrays_of(source))
    assert method.notes == (f"image tower: frozen weights 'deit', sha256 {file_digest(path)}",)
    assert any(name.startswith("backbone.") for name, p in method.named_parameters() if p.requires_grad)
    with pytest.raises(SpecError, match="image_weights have no effect"):
        method.inherit(build().state_dict(), build())


def test_settings_that_were_added_later_leave_older_specs_as_they_were() -> None:
    assert not {"image_weights", "report_part"} & set(MGCAConfig().model_dump())
    assert not {"policy", "view"} & set(EVPConfig().model_dump())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"view": {}}, "set flip to 0"),
        ({"pair_weight": 0, "token_weight": 0, "prototype_weight": 0}, "nothing would be learned"),
        ({"freeze_text": True}, "name its 'weights'"),
        ({"text": {"max_tokens": 600}}, "512"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MGCAConfig.model_validate(settings)


def test_prompts_are_one_for_each_class() -> None:
    with pytest.raises(SpecError, match="3 prompts for 2 classes"):
        build(prompts=("a", "b", "c"))
    assert build(contract=Contract(classes=("large_nodule", "b"))).prompts == ("large nodule", "b")


def test_prompts_are_read_as_reports_are() -> None:
    """Punctuation would make a word of which the vocabulary knows nothing."""
    method = build().eval()
    there, here = (
        method._embedded([prompt]) for prompt in ("Covid-19 pneumonia, bilateral.", "covid 19 pneumonia bilateral")
    )
    assert torch.equal(there, here)
    assert not torch.equal(method._embedded(["covid-19"]), method._embedded(["sars-2"]))


@pytest.mark.parametrize(
    ("prompts", "task", "message"),
    [
        (("normal", "pneumonia " * 11), Task.CLASSIFICATION, "makes 13 pieces, and the text tower reads 12"),
        (("normal", "pneumonia " * 10), Task.MULTI_LABEL, "'no pneumonia .* makes 13 pieces"),
        (("normal", "肺炎"), Task.CLASSIFICATION, "'肺炎' has no words in ASCII letters"),
    ],
)
def test_prompts_that_would_not_be_read_whole_are_refused(prompts: tuple[str, ...], task: Task, message: str) -> None:
    contract = Contract(task=task, classes=("a", "b"))
    with pytest.raises(SpecError, match=message):
        build(contract=contract, prompts=prompts)
    build(contract=contract, prompts=("normal", "pneumonia " * 9))


def test_classes_are_named_without_labels_where_there_are_classes() -> None:
    method = build().eval()
    probabilities = method.predict_batch(batch())
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(4))
    unlabelled = Batch(images=batch().images, reports=batch().reports)
    assert method.predict_batch(unlabelled).shape == (4,)
    several = build(contract=Contract(task=Task.MULTI_LABEL, classes=("nodule", "opacity", "mass"))).eval()
    found = several.predict(batch().images)
    assert found.shape == (4, 3)
    assert bool(((found > 0) & (found < 1)).all())


def test_a_prompt_that_fits_gets_the_image_after_training() -> None:
    """Pairs whose report says the class, and prompts that say it too."""
    contract = Contract(classes=("effusion", "nodule"))
    method = build(
        contract=contract, prompts=("large left pleural effusion", "small right nodule"), text={"dropout": 0.0}
    )
    images = torch.zeros(8, 1, 16, 16)
    images[:4, :, :8], images[4:, :, 8:] = 1.0, 1.0
    images += 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    reports = ("large left pleural effusion",) * 4 + ("small right nodule",) * 4
    ready = method.prepare(Batch(images=images, reports=reports), torch.Generator())
    optimizer = torch.optim.AdamW(method.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        method.training_step(ready, Clock()).loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        for _ in range(40):  # running statistics of norms lag behind so few steps
            method.training_step(ready, Clock())
    assert method.eval().predict(images).argmax(dim=1).tolist() == [0] * 4 + [1] * 4


def test_statistics_of_projections_stay_and_everything_else_travels() -> None:
    method = build()
    manifest = manifest_of(method)
    state = {name: tensor.numpy() for name, tensor in method.state_dict().items()}
    shared, private = Partition(manifest, method.rules()).split(state)
    assert {name.rsplit(".", 1)[1] for name in private} == {"running_mean", "running_var", "num_batches_tracked"}
    assert "prototypes" in shared
    assert any(name.startswith("text.network.") for name in shared)


def test_a_frozen_text_tower_is_no_part_of_the_state_and_is_never_trained(bert: dict[str, Any]) -> None:
    method = build(text=bert, freeze_text=True)
    assert not [name for name in method.state_dict() if name.startswith("text.")]
    before = digest(arrays_of(method.tower))
    train(method)
    assert digest(arrays_of(method.tower)) == before == digest(arrays_of(build(seed=5).tower))
    assert method.notes == (f"text tower: frozen weights 'bert', sha256 {bert['weights']['sha256']}",)


def test_training_on_reports_adds_nothing_to_the_state() -> None:
    method = build()
    before = set(method.state_dict())
    train(method)
    assert set(method.state_dict()) == before
    assert not [
        name for name, tensor in method.state_dict().items() if tensor.dtype not in (torch.float32, torch.int64)
    ]


def mae_of(method: MGCA) -> MAE:
    backbone = ViTConfig(width=16, depth=2, heads=2, patch_px=8).build(image_px=16, channels=1)
    return MAE(MAEConfig(decoder_width=8, decoder_heads=2, decoder_depth=1), backbone=backbone, contract=CONTRACT)


def test_it_goes_on_from_images_alone_and_gives_its_backbone_to_a_classifier() -> None:
    method = build()
    source = mae_of(method)
    inheritance = method.inherit(source.state_dict(), source)
    assert all(name.startswith("backbone.") for name in inheritance.taken)
    assert torch.equal(method.backbone.cls_token, source.backbone.cls_token)  # type: ignore[arg-type]
    classifier = classifier_of(method)
    taken = classifier.inherit(method.state_dict(), method)
    assert set(taken.taken) == {name for name in classifier.state_dict() if name.startswith("backbone.")}


@pytest.fixture
def bert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of a text tower whose weights a file holds."""
    monkeypatch.setenv("FEDWARD_WEIGHTS", str(tmp_path))
    save_file(build(seed=5).tower.network.state_dict(), weights := tmp_path / "bert.safetensors")
    (vocabulary := tmp_path / "vocabulary.txt").write_text("\n".join(built_in_vocabulary()), encoding="utf-8")
    return {
        "vocabulary": {"name": "vocabulary", "sha256": file_digest(vocabulary)},
        "weights": {"name": "bert", "sha256": file_digest(weights)},
    }


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        ([], [], ""),
        (["weights", "vocabulary"], ["vocabulary"], ""),
        (["weights", "vocabulary"], [], "text.vocabulary is another"),
        ([], ["weights", "vocabulary"], "text.weights have no effect"),
        (["frozen", "weights", "vocabulary"], ["frozen", "weights", "vocabulary"], ""),
        (["frozen", "weights", "vocabulary"], ["vocabulary"], "freeze_text is alike .* found true, then false"),
        (["vocabulary"], ["frozen", "weights", "vocabulary"], "freeze_text is alike .* found false, then true"),
        ([], ["heads"], "text.heads is another"),
        ([], ["legacy_words"], "text.legacy_words is another"),
    ],
)
def test_reports_are_read_as_the_stage_of_mgca_before_learned_to(
    bert: dict[str, Any], first: list[str], then: list[str], message: str
) -> None:
    choices = {**bert, "heads": 4, "legacy_words": True}

    def stage(names: list[str]) -> MGCA:
        text = {name: choices[name] for name in names if name in choices}
        return build(text=text, freeze_text="frozen" in names)

    source, ours = stage(first), stage(then)
    if not message:
        assert ours.inherit(source.state_dict(), source).new == ()
        return
    with pytest.raises(SpecError, match=message):
        ours.inherit(source.state_dict(), source)


def test_headings_that_are_not_found_are_named() -> None:
    method = build(report_part="impression_findings")
    reports = prepared(method, "Findings: small left nodule.", "Impression: large right opacity.")
    with pytest.raises(DataError, match=r"0 of 2 reports of a batch .* beneath FINDINGS: or IMPRESSION:, in capitals"):
        method.training_step(reports, Clock())


def classifier_of(method: MGCA) -> Supervised:
    backbone = ViTConfig(width=16, depth=2, heads=2, patch_px=8).build(image_px=16, channels=1)
    return Supervised(SupervisedConfig(), backbone=backbone, contract=CONTRACT)


def test_a_linear_probe_leaves_the_backbone_as_it_is() -> None:
    classifier = classifier_of(build())
    before, head = digest(arrays_of(classifier.backbone)), classifier.head.weight.detach().clone()
    train(classifier, trainable=r"head\..*")
    assert digest(arrays_of(classifier.backbone)) == before
    assert not torch.equal(classifier.head.weight.detach(), head)


def test_each_part_of_the_loss_can_be_left_out() -> None:
    def loss(**weights: float) -> Tensor:
        others: dict[str, Any] = {"pair_weight": 0.0, "token_weight": 0.0, "prototype_weight": 0.0}
        method = build(**(others | weights)).eval()
        return method.training_step(prepared(method), Clock()).loss.detach()

    parts = loss(pair_weight=1.0) + loss(token_weight=1.0) + loss(prototype_weight=1.0)
    torch.testing.assert_close(loss(pair_weight=1.0, token_weight=1.0, prototype_weight=1.0), parts)
