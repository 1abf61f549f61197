"""Trials of the zoo are run by hand, and would break unseen; and what their tables call evidence must be some."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.experiments import evp, fgsm_at, labelled, mgca_pointing, pairs, pretraining, tables

from fedward_core.cards import Contract
from fedward_models.backbones.vit.config import ViTConfig
from fedward_models.batch import Batch
from fedward_models.methods.mgca.alignment import Pairs
from fedward_models.methods.mgca.config import MGCAConfig
from fedward_models.methods.mgca.mgca import MGCA
from fedward_models.towers.config import TextTowerConfig
from fedward_models.towers.reports import clean_report

RunTrial = Callable[..., list[dict[str, Any]]]


def rows(**arms: list[float]) -> list[dict[str, Any]]:
    """One figure of each arm, seed after seed."""
    return [
        {"arm": arm, "seed": seed, "figure": value, "tower": f"{arm}-{seed}"}
        for arm, values in arms.items()
        for seed, value in enumerate(values)
    ]


def test_differences_are_of_the_seeds_that_both_arms_have() -> None:
    found = rows(ours=[0.5, 0.6, 0.9], theirs=[0.4, 0.3])
    assert pairs.differences(found, "figure", "ours", "theirs") == pytest.approx([0.1, 0.3])
    assert pairs.differences(reversed(found), "figure", "ours", "theirs") == pytest.approx([0.1, 0.3])
    assert not pairs.differences(found, "figure", "ours", "nobody")


@pytest.mark.parametrize(
    ("values", "doubt"),
    [
        ([0.1, 0.2, 0.15], ""),
        ([-0.1, -0.2, -0.15], ""),
        ([0.1, -0.2, 0.15], "no evidence"),
        ([0.0, 0.0, 0.0], "no evidence"),
        ([0.1, 0.2], "no evidence: fewer than 3 seeds"),
        ([0.1], "no evidence: fewer than 3 seeds"),
    ],
)
def test_differences_count_where_their_interval_leaves_0_out(values: list[float], doubt: str) -> None:
    assert pairs.doubt(values) == doubt


def test_a_table_of_pairs_tells_seeds_spread_and_doubt(capsys: pytest.CaptureFixture[str]) -> None:
    found = rows(ours=[0.5, 0.6, 0.7], theirs=[0.4, 0.4, 0.4], third=[0.5])
    pairs.show_pairs(found, "figure", [("ours", "theirs"), ("ours", "third"), ("ours", "nobody")])
    printed = capsys.readouterr().out
    assert "| ours over theirs | 3 | +0.200 [+0.100, +0.300] | +0.100 to +0.300 |  |" in printed
    assert "| ours over third | 1 | +0.000 [+0.000, +0.000] | none | no evidence: fewer than 3 seeds |" in printed
    assert "nobody" not in printed


def test_networks_are_told_by_arm_and_seed(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_networks(rows(ours=[0, 0], theirs=[0]))
    assert "| ours | 0: ours-0, 1: ours-1 |\n| theirs | 0: theirs-0 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("accuracy", "untrained", "judgement"),
    [
        (0.12, None, "no evidence"),
        (0.13, None, ""),
        (0.13, 0.1, "no evidence over the untrained network"),
        (0.2, 0.1, ""),
    ],
)
def test_an_accuracy_near_chance_is_no_evidence(accuracy: float, untrained: float | None, judgement: str) -> None:
    """Two standard errors of 500 images: 0.127 is as good as 0.1, and 0.138 as another network's 0.1."""
    assert tables.verdict(accuracy, n=500, chance=0.1, untrained=untrained) == judgement


def test_every_accuracy_that_is_judged_is_named_where_it_is_no_evidence(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        {"arm": "plain", "seed": 0, "clean": 0.9, "pgd": 0.05},
        {"arm": "all", "seed": 0, "clean": 0.9, "pgd": 0.5},
    ]
    tables.show(found, ("clean", "pgd"), n=500, chance=0.1, judged=("clean", "pgd"))
    tables.show(found, ("clean", "pgd"), n=500, chance=0.1)
    both, first = capsys.readouterr().out.split("Means over seeds")[:2]
    assert "| plain | 1 | 0.900 [0.900, 0.900] | 0.050 [0.050, 0.050] | pgd: no evidence |" in both
    assert "| all | 1 | 0.900 [0.900, 0.900] | 0.500 [0.500, 0.500] |  |" in both
    assert "no evidence" not in first


def test_a_trial_of_prompts_tells_towers_zero_shot_and_bytes(
    run_trial: RunTrial, capsys: pytest.CaptureFixture[str]
) -> None:
    arms = ("--arms", "source", "zero_full", "evp", "linear")
    found = run_trial(evp, "--steps", "1", "--tower-steps", "1", *arms)
    printed = capsys.readouterr().out
    (tower,) = {row["tower"] for row in found}
    source, zero, *_ = (f"{row['accuracy']:.3f} of 497" for row in found)
    assert f"| 0 | {tower} | {source}" in printed
    assert f" | {zero}: no evidence | not run |" in printed
    assert "the prompt: 1280 bytes a round" in printed
    assert f"a linear probe: {4 * 10 * 49} bytes a round" in printed


def test_a_trial_of_attacks_tells_them_and_goes_on_from_its_records(
    run_trial: RunTrial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fgsm_at, "ARMS", {name: fgsm_at.ARMS[name] for name in ("plain", "stride")})
    monkeypatch.setattr(fgsm_at, "QUERIES", 2)
    found = run_trial(fgsm_at, "--steps", "1", "--arms", "plain", "stride")
    printed = capsys.readouterr().out
    assert [row["n"] for row in found] == [497, 497]
    assert "PGD with 20 steps of a quarter of it and 1 random start; Square with 2 queries" in printed
    assert "| stride over plain | 1 |" in printed
    assert all(f"0: {row['network']}" in printed for row in found)
    assert run_trial(fgsm_at, "--steps", "1", "--arms", "plain", "stride") == found


def test_on_cifar_10_the_attack_is_that_of_the_papers_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path, count: int) -> pretraining.ImageData:
        return pretraining.ImageData(images=torch.zeros(count, 3, 2, 2), labels=torch.zeros(count, dtype=torch.long))

    monkeypatch.setattr(labelled, "read", read)
    bench = fgsm_at.Bench(Path("cifar"), 1)
    (note,) = bench.build("all", 0).notes
    assert "a radius of 8/255" in note
    assert "PGD with 50 steps of a quarter of it and 10 random starts" in note
    assert len(bench.test.pixels) == 256
    assert bench.epsilon == pytest.approx(8 / 255)


REPORT = (
    "No focal consolidation. There is a faint patchy opacity in the right upper zone, consistent with pneumonia. "
    "A round nodule projects over the left lung. Opacity from left to right."
)


def test_words_of_findings_are_read_with_the_side_of_their_sentence() -> None:
    """The last sentence says both sides, and the first none."""
    words = clean_report(REPORT)
    assert [(words[place], half) for place, half in mgca_pointing.words_with_sides(REPORT)] == [
        ("opacity", 0),
        ("nodule", 1),
    ]


@pytest.mark.parametrize(("half", "share"), [(0, 1 / 2), (1, 1 / 2), (None, 1.0)])
def test_pointing_counts_words_that_attend_to_the_half_of_their_side(half: int | None, share: float) -> None:
    """Words are made equal to a place of one half, or of the half that the report says."""
    text = TextTowerConfig(width=8, depth=1, heads=2)
    config = MGCAConfig(text=text, hidden=8, width=4, prototypes=2)
    backbone = ViTConfig(width=8, depth=1, heads=2, patch_px=8).build(image_px=32, channels=1)
    method = MGCA(config, backbone=backbone, contract=Contract(classes=("a", "b"))).eval()
    aligned = method.pairs

    def pairs_of(batch: Batch) -> Pairs:
        found = aligned(batch)
        places = torch.zeros(1, 16, 4)
        places[0, 1, 0] = places[0, 14, 1] = 1  # the first row's second column, and the last row's third
        words = torch.zeros_like(found.words)
        for place, said in mgca_pointing.words_with_sides(REPORT):
            words[0, place, said if half is None else half] = 1
        return replace(found, places=places, words=words)

    method.pairs = pairs_of  # type: ignore[method-assign]
    assert mgca_pointing.pointing(method, torch.zeros(1, 1, 32, 32), (REPORT,)) == share
