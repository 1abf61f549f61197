"""What every trial does: it runs what is not finished, keeps what is, and by default has the seeds of its page."""

import importlib
import json
import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

import pytest
import torch
from benchmarks.experiments.pretraining import ImageData
from benchmarks.experiments.steps import Steps
from benchmarks.experiments.trial import Row, carry_out

README = Path(__file__).parents[2] / "benchmarks" / "README.md"
PUBLISHED = re.findall(r"^\| `(\w+)[^`]*` \| \[[^|]* \| (\d+) \| \|$", README.read_text(encoding="utf-8"), re.MULTILINE)


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


@pytest.mark.parametrize(("name", "seeds"), PUBLISHED)
def test_a_trial_has_by_default_the_seeds_of_its_table(name: str, seeds: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tables that are complete."""
    trial, parsers = importlib.import_module(f"benchmarks.experiments.{name}"), list[ArgumentParser]()

    def parsed(parser: ArgumentParser) -> None:
        parsers.append(parser)
        raise SystemExit

    monkeypatch.setattr(trial, "parsed", parsed)
    with pytest.raises(SystemExit):
        trial.main()
    assert parsers[0].get_default("seeds") == list(range(int(seeds)))


def test_steps_deal_every_image_once_before_any_again() -> None:
    images = torch.arange(10.0).view(10, 1, 1, 1)
    data = ImageData(images=images, labels=torch.zeros(10, dtype=torch.long))
    batches = list(Steps(data=data, num_steps=4, batch_size=5).epoch(7))
    assert [batch.seed for batch in batches] == [0, 1, 2, 3]
    for pair in (batches[:2], batches[2:]):
        assert sorted(torch.cat([batch.images.flatten() for batch in pair]).tolist()) == list(range(10))
    again = list(Steps(data=data, num_steps=4, batch_size=5).epoch(7))
    assert all(torch.equal(batch.images, other.images) for batch, other in zip(batches, again, strict=True))
