"""The trial of robust convolutions trains and asks as it says."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from benchmarks.experiments import robust_cnn
from benchmarks.experiments.labelled import Labelled
from benchmarks.experiments.steps import Steps

RunTrial = Callable[..., list[dict[str, Any]]]


def labelled(count: int, channels: int, seed: int) -> Labelled:
    rng = torch.Generator().manual_seed(seed)
    pixels, labels = torch.rand(count, channels, 32, 32, generator=rng), torch.arange(count) % 10
    return Labelled(pixels=pixels, labels=labels, mean=0.5, std=0.25)


def test_a_coin_mirrors_each_image_and_changes_nothing_else() -> None:
    data = labelled(40, 3, 0)
    plain, mirrored = (
        list(kind(data=data, num_steps=4, batch_size=10).epoch(5)) for kind in (Steps, robust_cnn.MirroredSteps)
    )
    turned = []
    for before, after in zip(plain, mirrored, strict=True):
        assert before.labels is not None
        assert after.labels is not None
        assert torch.equal(before.labels, after.labels)
        for image, other in zip(before.images, after.images, strict=True):
            turned.append(not torch.equal(image, other))
            assert torch.equal(other, image.flip(2) if turned[-1] else image)
    assert 10 < sum(turned) < 30


def test_every_arm_is_asked_about_corruptions_and_other_sources_of_digits(
    run_trial: RunTrial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(robust_cnn, "KNOWN", 100)
    monkeypatch.setattr(robust_cnn, "_data", lambda _: {"train": labelled(100, 3, 1), "test": labelled(20, 3, 2)})
    digits = {"large": labelled(130, 1, 3), "small": labelled(15, 1, 4)}
    monkeypatch.setattr(robust_cnn, "_sites", lambda _: digits)
    arms = ["conv_3_many", "patch_7_few", "cnn_from_vit"]
    found = run_trial(robust_cnn, "--data", "x", "--digits", "x", "--steps", "1", "--arms", *arms)
    assert [row["arm"] for row in found] == arms
    for row in found:
        assert len(row["by_corruption"]) == 15
        assert row["n_by_site"] == {"large": 30, "small": 15}
        assert row["by_site"].keys() == {"small"}
        assert row["shifted"] == row["by_site"]["small"]
        assert {"clean", "corrupted", "source", "n"} <= row.keys()
    printed = capsys.readouterr().out
    assert "| arm | seeds | clean | corrupted | source | shifted | |" in printed
    assert "| error in %, severities (1, 3, 5) | conv_3_many | patch_7_few |" in printed
    plain = ", ".join(f"{100 * error:.1f}" for error in found[0]["by_corruption"]["fog"])
    assert f"| fog | {plain} | " in printed
    assert "| mean corruption error, conv_3_many = 100 | 100.0 | " in printed
