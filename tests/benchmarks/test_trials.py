"""What every trial does: it runs what is not finished and keeps what is."""

import json
from argparse import Namespace
from pathlib import Path

import torch
from benchmarks.experiments.pretraining import ImageData
from benchmarks.experiments.steps import Steps
from benchmarks.experiments.trial import Row, carry_out


def test_what_is_finished_is_not_run_again_and_rows_with_other_settings_are_left_alone(tmp_path: Path) -> None:
    old = {"steps": 3, "seed": 0, "teacher": None, "arm": "plain", "figure": 0.5, "by_site": {"north": 0.5}}
    other = {**old, "steps": 4}
    (tmp_path / "trial.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (old, other)))
    taken: list[tuple[str, int]] = []

    def run(arm: str, seed: int) -> Row:
        taken.append((arm, seed))
        return {"figure": 0.75}

    same = {"steps": 3, "teacher": None}
    arguments = Namespace(out=tmp_path, seeds=[0, 1], arms=["plain", "all"])
    rows = carry_out("trial", arguments, run, same=same)
    assert taken == [("all", 0), ("plain", 1), ("all", 1)]
    assert rows == [old, *({"arm": arm, "seed": seed, **same, "figure": 0.75} for arm, seed in taken)]
    assert carry_out("trial", arguments, run, same=same) == rows
    assert len(taken) == 3


def test_steps_deal_every_image_once_before_any_again() -> None:
    images = torch.arange(10.0).view(10, 1, 1, 1)
    data = ImageData(images=images, labels=torch.zeros(10, dtype=torch.long))
    batches = list(Steps(data=data, num_steps=4, batch_size=5).epoch(7))
    assert [batch.seed for batch in batches] == [0, 1, 2, 3]
    for pair in (batches[:2], batches[2:]):
        assert sorted(torch.cat([batch.images.flatten() for batch in pair]).tolist()) == list(range(10))
    again = list(Steps(data=data, num_steps=4, batch_size=5).epoch(7))
    assert all(torch.equal(batch.images, other.images) for batch, other in zip(batches, again, strict=True))
