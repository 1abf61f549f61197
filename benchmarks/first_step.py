"""How long does it take from submitting a run to its first training step, over a network of processes?"""

import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Spread, print_table
from fedward_cli.network.local_network import STUDY, Network, network
from fedward_cli.network.sites import sites_of
from fedward_core.spec import Spec
from fedward_models.data import generate, sites_in

REPEATS = 3
SITES, IMAGES, IMAGE_PX = 3, 64, 32
POLL_S = 0.2
# Which event of the run tells each. An update's round has one step, so it comes as soon as that is made.
MOMENTS = {
    "every site has agreed": "run_moved",
    "the run's process is at work": "run_started",
    "the model is planned, and orders go out": "round_started",
    "the first site's update is there": "site_trained",
}


def main() -> None:
    """Submit one run after the other to one network, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        generate(data, sites=SITES, images_per_site=IMAGES, image_px=IMAGE_PX)
        with network(Path(folder) / "network", sites_of(data, sites_in(data)), dataset="simulated") as running:
            repeats = [seconds(running, seed) for seed in range(REPEATS)]
    rows = [(moment, Spread(tuple(repeat[kind] for repeat in repeats))) for moment, kind in MOMENTS.items()]
    note = (
        f"A small ViT with one step at each of {SITES} sites over loopback. {REPEATS} runs of one network that is up, "
        "with seeds from 0 on. Sites report every half second."
    )
    print_table("From submitting a run to its first step", ("until", "s"), rows, note)


def seconds(running: Network, seed: int) -> dict[str, float]:
    """How long after its submission each moment of a run came, by the kind of event that tells it."""
    run, submitted = f"first-step-{seed}", time.time()
    running.coordinator.post("/runs", {"study": STUDY, "spec": spec(seed).model_dump(mode="json"), "run": run})
    while running.coordinator.get(f"/runs/{run}")["state"] not in {"completed", "failed"}:
        time.sleep(POLL_S)
    first: dict[str, float] = {}
    for event in running.coordinator.get(f"/runs/{run}/events"):
        if tells(event):
            first.setdefault(event["kind"], event["time_s"] - submitted)
    return first


def tells(event: dict[str, Any]) -> bool:
    """Whether an event tells one of the moments: of moves between states, the one that ends the asking of sites."""
    return event["kind"] in MOMENTS.values() and event["facts"].get("from", "recruiting") == "recruiting"


def spec(seed: int) -> Spec:
    """One round of one step at each site."""
    backbone = {"name": "vit", "width": 96, "depth": 4, "heads": 4, "patch_px": 8}
    stage = {"name": "only", "method": "supervised", "backbone": backbone, "rounds": 1}
    dataset = {"name": "simulated", "image_px": IMAGE_PX}
    cohort = {"min_sites": SITES}
    values = {"name": "first-step", "seed": seed, "dataset": dataset, "cohort": cohort, "evaluate": {"bootstrap": 0}}
    return Spec.parse({**values, "stages": [{**stage, "local": {"batch_size": IMAGES}}]})


if __name__ == "__main__":
    main()
