"""``fedward simulate`` and ``fedward train``, over an engine that only tells."""

import csv
import json
from typing import Any

import pytest

from fedward_cli.simulation import hospitals
from fedward_cli.simulation.results import read_results
from fedward_core.claim import at_work
from fedward_core.spec import Cohort


def test_the_table_holds_what_the_events_said(bench: Any) -> None:
    result = bench.simulate()
    assert result.exit_code == 0, result.output
    final = read_results(bench.out).final
    for site in ("hill", "north", "river"):
        assert str(final[site]["accuracy"]) in result.stdout
    assert "mean of sites" in result.stdout
    assert "18.0 kB in all" in result.stdout  # 3 sites, 6 rounds, 1000 bytes


def test_the_metrics_files_hold_every_evaluation_and_the_final_figures(bench: Any) -> None:
    bench.simulate()
    with (bench.out / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 2  # sites, figures, evaluations
    assert {row["round"] for row in rows} == {"2", "3"}
    final = json.loads((bench.out / "metrics.json").read_text())
    assert final["sites"]["north"]["accuracy"] == read_results(bench.out).final["north"]["accuracy"].model_dump()
    assert (bench.out / "curves.png").stat().st_size > 0


def test_json_output_parses_and_says_the_same(bench: Any) -> None:
    result = bench.simulate("--json")
    assert json.loads(result.stdout) == json.loads((bench.out / "metrics.json").read_text())


def test_hospitals_are_simulated_where_no_data_is_given_and_used_again(bench: Any) -> None:
    result = bench.call("simulate", bench.spec(), "--out", bench.out)
    assert result.exit_code == 0, result.output
    assert "3 hospitals are simulated" in result.stderr
    assert len(bench.engine.jobs[0].sites) == 3
    assert bench.engine.jobs[0].data == bench.out / "data"
    again = bench.call("simulate", bench.spec(), "--out", bench.out, "--fresh")
    assert "are used" in again.stderr


def test_hospitals_are_not_simulated_for_classes_that_they_do_not_have(bench: Any) -> None:
    spec = bench.spec()
    spec.write_text(spec.read_text().replace("image_px: 16", "image_px: 16, classes: [normal, covid]"))
    result = bench.call("simulate", spec, "--out", bench.out)
    assert result.exit_code == 1
    assert "give --data" in result.stderr


def test_the_seed_replaces_the_one_of_the_spec(bench: Any) -> None:
    bench.simulate("--seed", 7, "--workers", 2)
    assert bench.engine.jobs[0].spec.seed == 7
    assert bench.engine.jobs[0].workers == 2


def test_an_interrupted_run_ends_with_130_and_is_taken_up_by_the_same_command(bench: Any) -> None:
    bench.engine.stop_after = 2
    result = bench.simulate()
    assert result.exit_code == 130
    assert "goes on from there" in result.stderr
    bench.engine.stop_after = None
    result = bench.simulate()
    assert result.exit_code == 0
    assert "had finished round 2 of stage 'pretrain'" in result.stderr
    assert bench.engine.jobs[0].run == bench.engine.jobs[1].run


def test_a_run_that_was_killed_while_it_wrote_an_event_is_taken_up(bench: Any) -> None:
    bench.engine.stop_after = 2
    bench.simulate()
    with (bench.out / "events.jsonl").open("a") as file:
        file.write('{"kind": "round_fin')
    assert "had finished round 2" in bench.simulate().stderr


def test_a_finished_run_is_read_and_not_repeated(bench: Any) -> None:
    first, second = bench.simulate(), bench.simulate()
    assert len(bench.engine.jobs) == 1
    assert first.stdout == second.stdout
    assert "is finished" in second.stderr


def test_another_spec_in_the_same_folder_is_refused_and_fresh_removes_the_old_run(bench: Any) -> None:
    bench.simulate()
    (bench.out / "notes.txt").write_text("mine")
    other = bench.spec("other", rounds=1)
    refused = bench.simulate(spec=other)
    assert refused.exit_code == 1
    assert "another spec" in refused.stderr
    assert "--fresh" in refused.stderr
    assert "Traceback" not in refused.output
    assert bench.simulate("--fresh", spec=other).exit_code == 0
    assert bench.engine.jobs[-1].spec.name == "other"
    assert (bench.out / "notes.txt").read_text() == "mine"


def test_the_same_run_over_other_sites_is_refused(bench: Any) -> None:
    bench.simulate()
    bench.call("data", "split", bench.data, "--site", "north", "--parts", 3, "--out", bench.folder / "cut")
    result = bench.call("simulate", bench.spec(), "--data", bench.folder / "cut", "--out", bench.out)
    assert result.exit_code == 1
    assert "--data" in result.stderr


def test_a_folder_that_cannot_be_is_explained_without_a_traceback(bench: Any) -> None:
    (bench.folder / "file").touch()
    result = bench.simulate("--out", bench.folder / "file" / "run")
    assert result.exit_code == 1
    assert "Not a directory" in result.stderr
    assert "Traceback" not in result.output


def test_resume_alone_never_starts_a_run(bench: Any) -> None:
    result = bench.simulate("--resume")
    assert result.exit_code == 1
    assert "no run to go on with" in result.stderr
    assert not bench.engine.jobs


def test_resume_and_fresh_together_are_a_usage_error(bench: Any) -> None:
    assert bench.simulate("--resume", "--fresh").exit_code == 2


def test_a_wrong_spec_ends_with_a_panel_and_exit_code_1(bench: Any) -> None:
    spec = bench.folder / "wrong.yaml"
    spec.write_text("name: wrong\ndataset: {name: x}\nstages: [{name: a, method: maee, rounds: 1}]\n")
    result = bench.simulate(spec=spec)
    assert result.exit_code == 1
    assert "This did not work" in result.stderr
    assert "Did you mean 'mae'?" in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_package_that_is_missing_is_named_with_what_to_do(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(module: str) -> Any:
        def import_it(*_: object) -> None:
            raise ModuleNotFoundError(f"No module named '{module}'", name=module)

        monkeypatch.setattr(hospitals, "taking_part", import_it)
        return bench.simulate()

    result = without("torch")
    assert result.exit_code == 1
    assert "needs the package 'torch'" in result.stderr
    assert "fedward doctor" in " ".join(result.stderr.split())
    assert isinstance(without("fedward_models.lost").exception, ModuleNotFoundError)  # a bug, and shown whole


def test_what_another_run_is_writing_is_not_removed(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedward_core.claim.PATIENCE_S", 0.0)
    bench.simulate()
    with at_work(bench.out):
        refused = bench.simulate("--fresh")
    assert refused.exit_code == 1
    assert "another run is at work" in refused.stderr
    assert (bench.out / "run.json").exists()


def test_a_missing_file_is_a_usage_error(bench: Any) -> None:
    assert bench.simulate(spec=bench.folder / "none.yaml").exit_code == 2


def test_an_unknown_engine_is_named_with_the_nearest(bench: Any) -> None:
    result = bench.simulate("--engine", "inlin")
    assert result.exit_code == 1
    assert "Did you mean 'inline'?" in result.stderr


def test_too_few_sites_are_refused_before_anything_starts(bench: Any) -> None:
    bench.call("data", "split", bench.data, "--site", "north", "--parts", 2, "--out", bench.folder / "two")
    result = bench.call("simulate", bench.spec(), "--data", bench.folder / "two", "--out", bench.out)
    assert result.exit_code == 1
    assert "cohort.min_sites is 3, but 2 sites" in result.stderr
    assert not bench.engine.jobs


def test_a_site_that_drops_out_is_named_as_it_happens(bench: Any) -> None:
    bench.engine.dropped = "river"
    result = bench.simulate()
    assert "river is left out in pretrain, round 1: [silent]" in result.stderr
    assert "2/3 sites" in result.stderr


def test_train_is_a_federation_of_one(bench: Any) -> None:
    result = bench.call("train", bench.spec(), "--data", bench.data, "--site", "north", "--out", bench.out)
    assert result.exit_code == 0, result.output
    job = bench.engine.jobs[0]
    assert job.sites == ("north",)
    assert job.spec.cohort.min_sites == 1


def test_a_site_alone_has_one_row_and_sends_nothing(bench: Any) -> None:
    result = bench.call("train", bench.spec(), "--data", bench.data, "--site", "north", "--out", bench.out)
    assert "starts at north" in result.stderr
    assert "north" in result.stdout
    for word in ("mean of sites", "all images", "sent", "kB"):
        assert word not in result.stdout.partition("Intervals")[0]


@pytest.mark.parametrize("cohort", ["min_sites: 2, sites_per_round: 2", "min_sites: 2, hold_out: [north]"])
def test_train_leaves_out_what_a_spec_says_of_other_sites(bench: Any, cohort: str) -> None:
    spec = bench.spec()
    spec.write_text(f"{spec.read_text()}cohort: {{{cohort}, round_deadline_s: 60}}\n")
    bench.call("train", spec, "--site", "north", "--data", bench.data, "--out", bench.out)
    (job,) = bench.engine.jobs
    assert job.spec.cohort == Cohort(sites=("north",), min_sites=1, round_deadline_s=60)


def test_a_file_in_place_of_the_folder_of_sites_is_told_so(bench: Any) -> None:
    for command in (("train", bench.spec(), "--data"), ("data", "inspect")):
        result = bench.call(*command, bench.data / "north.npz")
        assert result.exit_code == 2
        assert "give the folder above it" in " ".join(result.stderr.replace("│", " ").split())


def test_train_without_data_simulates_hospitals_and_takes_the_first(bench: Any) -> None:
    result = bench.call("train", bench.spec(), "--out", bench.out)
    assert result.exit_code == 0
    assert json.loads((bench.out / "run.json").read_text())["sites"] == ["north"]


def test_train_asks_which_site_where_the_data_has_several(bench: Any) -> None:
    result = bench.call("train", bench.spec(), "--data", bench.data, "--out", bench.out)
    assert result.exit_code == 1
    assert "choose one with --site, of" in result.stderr


def test_a_recipe_is_named_in_place_of_a_file(bench: Any) -> None:
    result = bench.call("simulate", "recipe:ssl_fl_paper/retina", "--out", bench.out)
    assert result.exit_code == 2
    assert "unknown recipe 'ssl_fl_paper/retina'" in " ".join(result.stderr.split())


def test_train_at_a_site_that_is_not_there_names_those_that_are(bench: Any) -> None:
    result = bench.call("train", bench.spec(), "--data", bench.data, "--site", "south", "--out", bench.out)
    assert result.exit_code == 1
    assert "hill, north, river" in result.stderr


@pytest.mark.parametrize("content", ["", "{", '{"state": "running"}', "[1]"])
def test_a_damaged_run_file_is_a_clear_error_that_fresh_clears(bench: Any, content: str) -> None:
    bench.out.mkdir()
    (bench.out / "run.json").write_text(content)
    result = bench.simulate()
    assert result.exit_code == 1
    assert "damaged" in result.stderr
    assert bench.simulate("--fresh").exit_code == 0


def test_the_table_shows_what_guessing_would_reach(bench: Any) -> None:
    shown = " ".join(bench.simulate().stdout.split())
    assert "site prior only, mean" in shown
    assert "site prior only, all images" in shown
