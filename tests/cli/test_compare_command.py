"""``fedward compare``: arms, seeds, shared stages, files."""

import csv
import json
import shutil
from typing import Any

import pytest

from fedward_cli.comparison.comparison import Comparison
from fedward_core.errors import FedwardError

pytestmark = pytest.mark.usefixtures("without_curves")


def compare(bench: Any, *arguments: object, names: tuple[str, ...] = ("first", "second")) -> Any:
    specs = [bench.spec(name) for name in names]
    return bench.call("compare", *specs, "--data", bench.data, "--out", bench.out, "--seeds", 2, *arguments)


def test_every_arm_runs_with_every_seed_in_a_folder_of_its_own(bench: Any) -> None:
    result = compare(bench)
    assert result.exit_code == 0, result.output
    ran = [(job.out.parent.name, job.out.name, job.spec.seed) for job in bench.engine.jobs]
    assert ran == [(arm, f"seed-{seed}", seed) for seed in (0, 1) for arm in ("first", "second")]
    assert all(job.reuse == bench.out / "stages" for job in bench.engine.jobs)


def test_all_files_tell_the_same_figures(bench: Any) -> None:
    result = compare(bench)
    comparison = Comparison.model_validate_json((bench.out / "comparison.json").read_text())
    row = comparison.rows[1]
    assert str(row.mean) in result.stdout
    assert str(row.mean) in (bench.out / "comparison.md").read_text()
    with (bench.out / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    (mean,) = [line for line in rows if (line["arm"], line["place"]) == ("second", "mean")]
    assert float(mean["value"]) == row.mean.value
    assert (bench.out / "comparison.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_says_what_was_resampled_and_shows_the_site_prior(bench: Any) -> None:
    stdout = compare(bench).stdout
    assert "intervals resample the seeds" in stdout
    assert "site prior only" in stdout


def test_json_output_parses(bench: Any) -> None:
    values = json.loads(compare(bench, "--json").stdout)
    assert [row["arm"] for row in values["rows"]] == ["first", "second", "site prior only"]


def test_finished_runs_are_read_and_an_interrupted_one_goes_on(bench: Any) -> None:
    complete = compare(bench).stdout
    (bench.out / "second" / "seed-1" / "run.json").unlink()
    (bench.out / "second" / "seed-1" / "events.jsonl").unlink()
    before = len(bench.engine.jobs)
    bench.engine.stop_after = 1
    shutil.rmtree(bench.out / "stages")
    assert compare(bench).exit_code == 130
    bench.engine.stop_after = None
    assert compare(bench).stdout == complete
    assert [job.out.name for job in bench.engine.jobs[before:]] == ["seed-1", "seed-1"]


def test_an_arm_is_charged_for_the_stage_that_it_took_over(bench: Any) -> None:
    values = json.loads(compare(bench, "--json").stdout)
    events = (bench.out / "second" / "seed-0" / "events.jsonl").read_text()
    assert "stage_reused" in events
    first, second, _ = values["rows"]
    assert first["bytes_sent"] == second["bytes_sent"] == 3 * 6 * 1000


def test_an_arm_is_charged_whatever_the_order_of_arms_and_which_others_are_still_compared(bench: Any) -> None:
    compare(bench)
    for names in (("second", "first"), ("second", "third")):
        rows = json.loads(compare(bench, "--json", names=names).stdout)["rows"]
        assert [row["bytes_sent"] for row in rows[:-1]] == [3 * 6 * 1000] * 2


def test_a_stage_of_a_run_that_is_gone_is_said_to_be_uncounted(bench: Any) -> None:
    compare(bench)
    shutil.rmtree(bench.out / "first")
    stdout = compare(bench, names=("second", "third")).stdout
    assert "Stage 'pretrain' of 'second' is that of a run which is not here any more" in stdout


def test_a_site_of_one_class_is_shown_with_its_recall_and_explained(bench: Any) -> None:
    bench.engine.one_class = "river"
    stdout = compare(bench).stdout
    assert "recall 0." in stdout
    assert "is not part of the mean" in stdout


def test_arms_need_names_of_their_own(bench: Any) -> None:
    result = compare(bench, names=("same", "same"))
    assert result.exit_code == 1
    assert "a name of its own" in result.stderr


def test_arms_about_different_data_are_refused(bench: Any) -> None:
    other = bench.spec("other")
    other.write_text(other.read_text().replace("simulated", "chest-xray"))
    result = bench.call("compare", bench.spec(), other, "--data", bench.data, "--out", bench.out)
    assert result.exit_code == 1
    assert "dataset.name" in result.stderr


def test_arms_at_other_sites_with_another_task_or_on_other_images_are_refused(bench: Any) -> None:
    other = bench.spec("other")
    whole = other.read_text()
    other.write_text(whole + "cohort: {sites: [hill, north, river]}\n")
    result = bench.call("compare", bench.spec(), other, "--data", bench.data, "--out", bench.out)
    assert (result.exit_code, "cohort.sites" in result.stderr) == (1, True)
    other.write_text(whole.replace("image_px: 16", "image_px: 16, task: segmentation"))
    result = bench.call("compare", other, "--data", bench.data, "--out", bench.out)
    assert (result.exit_code, "expected the task classification" in result.stderr) == (1, True)
    other.write_text(whole.replace("{every: 2}", "{every: 2, split: val}"))
    result = bench.call("compare", bench.spec(), other, "--data", bench.data, "--out", bench.out)
    assert (result.exit_code, "evaluate.split" in result.stderr) == (1, True)


def test_fresh_runs_everything_anew(bench: Any) -> None:
    compare(bench)
    values = json.loads(compare(bench, "--fresh", "--json").stdout)
    assert len(bench.engine.jobs) == 8
    assert [row["bytes_sent"] for row in values["rows"][:-1]] == [3 * 6 * 1000] * 2  # computed, and charged to both


def test_the_metric_can_be_chosen(bench: Any) -> None:
    stdout = compare(bench, "--metric", "auroc").stdout
    assert "AUROC" in stdout
    assert "would need every prediction" in stdout


def test_each_site_in_turn_never_trains_and_is_all_that_its_run_is_scored_by(bench: Any) -> None:
    result = compare(bench, "--hold-out", "each", "--seeds", 1)
    assert result.exit_code == 0, result.output
    cohorts = [(job.out.name, job.spec.cohort.hold_out, job.spec.cohort.min_sites) for job in bench.engine.jobs[:3]]
    assert cohorts == [(f"without-{site}", (site,), 2) for site in ("hill", "north", "river")]
    comparison = Comparison.model_validate_json((bench.out / "comparison.json").read_text())
    assert comparison.sites == ("hill", "north", "river")
    assert "trained at the other sites only" in result.stdout


def test_an_arm_cannot_be_trained_alone_for_a_site_that_is_held_out(bench: Any) -> None:
    result = compare(bench, "--hold-out", "each", "--alone", "second")
    assert (result.exit_code, "no model for a site" in result.stderr) == (1, True)


def test_a_run_that_fails_is_named_and_the_others_are_kept(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bench.engine.run

    def run(engine: Any, job: Any, listen: Any) -> None:
        if (job.spec.name, job.spec.seed) == ("second", 0):
            raise FedwardError("site north burnt down")
        whole(engine, job, listen)

    monkeypatch.setattr(bench.engine, "run", run)
    result = compare(bench)
    assert result.exit_code == 1
    assert "second, seed 0: site north burnt down" in result.stderr
    comparison = Comparison.model_validate_json((bench.out / "comparison.json").read_text())
    assert comparison.seeds == (1,)
    monkeypatch.setattr(bench.engine, "run", whole)
    before = len(bench.engine.jobs)
    assert compare(bench).exit_code == 0
    assert len(bench.engine.jobs) == before + 1
