"""``fedward demo``: three hospitals, a network of processes, four ways to train, one table."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from fedward_cli.comparison.arm_runs import Plan, job_of_arm, remove_shared
from fedward_cli.comparison.arms import read_arms
from fedward_cli.comparison.comparison import Comparison
from fedward_cli.comparison.report import show_comparison
from fedward_cli.comparison.running import run_arms
from fedward_cli.display.consoles import output, tell, way_to_program
from fedward_cli.options import DataFolderOrNone, Fresh
from fedward_cli.simulation import hospitals
from fedward_core.run_folder import FINAL, stage_folder
from fedward_core.spec import Spec

ARMS = ("local", "scratch", "ssl_fl", "ssl_fl_cd2")
DATASET_OF_OWN = "hospitals"  # the name that specs give to data of the user's
_IMAGES = 400  # of each hospital: enough to learn from, few enough for a laptop
_NOTE = (
    "This shows that the parts work together. The settings were chosen so that every arm learns within minutes; at "
    "this size, and with one seed, nothing here proves that any arm is better."
)
_SIMULATED = "data/"
_PLACES = {
    _SIMULATED: "the simulated hospitals",
    "comparison.md": "the table; also as .csv, .json and .png",
    "reconstructions.png": "what the masked autoencoder paints at each hospital",
    "ARM/seed-0/": "each run: spec.yaml, events.jsonl, metrics.csv, curves.png, weights under stages/",
}


def demo(
    out: Annotated[Path, typer.Option("--out", help="Where everything goes.", file_okay=False)] = Path("fedward-demo"),
    data: DataFolderOrNone = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="Simulate the hospitals within this process: faster, and less to see.")
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=1, help="With --simulated: hospitals that train side by side; 2 by default."),
    ] = None,
    fresh: Fresh = False,
) -> None:
    """Start three hospitals and a coordinator, and compare four ways to train: in about seven minutes.

    Coordinator, SuperLink and every hospital's agent are processes of their own, and the runs go through REST. The arms
    are `local` (every hospital alone), `scratch` (federated averaging), `ssl_fl` (masked pre-training without labels,
    then fine-tuning) and `ssl_fl_cd2` (and then with half of the channels private). Ctrl-C stops; the same command goes
    on.

    For example `fedward demo --out my-demo`
    """
    if workers and not simulated:
        raise typer.BadParameter("--workers has an effect with --simulated only: hospitals are processes of their own")
    arms = demo_arms() if data is None else _about(data, demo_arms())
    data = data or hospitals.simulated(out / "data", arms[0], images=_IMAGES)
    plan = Plan(data=data, out=out, seeds=1, workers=workers or 2, fresh=fresh)
    if fresh:
        remove_shared(plan)
    show_comparison(run_arms(arms, plan) if simulated else _run_deployed(arms, plan))
    output().print(f"[dim]{_NOTE}[/]")
    _draw_reconstructions(arms, plan)
    _show_digests(arms, plan)
    _tell_places(out)


def demo_arms() -> tuple[Spec, ...]:
    """The specs of the four arms; the first is the baseline."""
    folder = Path(__file__).with_name("arms")
    return read_arms([folder / f"{name}.yaml" for name in ARMS])


def _about(data: Path, arms: Sequence[Spec]) -> tuple[Spec, ...]:
    """The same arms about data of the user's."""
    classes = hospitals.all_classes(data, arms[0])
    dataset = arms[0].dataset.model_copy(update={"name": DATASET_OF_OWN, "classes": classes})
    return tuple(arm.model_copy(update={"dataset": dataset}) for arm in arms)


def _run_deployed(arms: Sequence[Spec], plan: Plan) -> Comparison:
    from fedward_cli.network.deployed import Deployed  # Flower is slow to import
    from fedward_cli.network.local_network import network
    from fedward_cli.network.sites import sites_of

    home = plan.out / "network"
    if plan.fresh:
        shutil.rmtree(home, ignore_errors=True)
    tell("The network starts; this takes a moment.")
    sites = sites_of(plan.data, hospitals.taking_part(plan.data, arms[0]))
    with network(home, sites, dataset=arms[0].dataset.name) as running:
        processes = ", ".join(f"{name} {pid}" for name, pid in running.processes.items())
        tell(f"Processes: {escape(processes)}")
        return run_arms(arms, plan, Deployed(running, fresh=plan.fresh))


def _draw_reconstructions(arms: Sequence[Spec], plan: Plan) -> None:
    from fedward_cli.display.reconstructions import draw_reconstructions  # imports torch

    arm = next(arm for arm in arms if arm.stages[0].method.name == "mae")
    draw_reconstructions(job_of_arm(arm, 0, plan), 0, plan.out / "reconstructions.png")


def _show_digests(arms: Sequence[Spec], plan: Plan) -> None:
    output().print("\nWeights at the end by digest, the same with and without --simulated:")
    for arm in arms:
        job = job_of_arm(arm, 0, plan)
        output().print(f"  {arm.name:<24}{final_digest(stage_folder(job.out, arm.stages[-1].name))}", highlight=False)


def final_digest(stage: Path) -> str:
    """The first digits of the digest of a finished stage's shared weights."""
    from fedward_core.arrays import digest, read_arrays  # numpy is slow to import

    return digest(read_arrays(stage / FINAL)[0])[:16]


def _tell_places(out: Path) -> None:
    tell(f"\nEverything is in '{escape(str(out))}':")
    for name, meaning in _PLACES.items():
        if name != _SIMULATED or (out / name).exists():  # there are no simulated hospitals beside data of the user's
            tell(f"  {name:<24}{meaning}")
    way = way_to_program()
    first = f"`{escape(way)}`, then " if way else ""
    tell(f"Next: {first}`fedward simulate examples/quickstart.yaml`, or `fedward data inspect` on data of your own.")
