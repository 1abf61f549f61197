"""How much memory does the coordinator need to aggregate, in models, and does it grow with the number of sites?"""

import sys
import tempfile
from pathlib import Path

from flwr.app import Array as FlowerArray
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from benchmarks.models import NUM_BYTES, weights
from benchmarks.processes import PYTHON, figure_of_process
from benchmarks.report import Spread, print_table
from fedward_core.cards import Contract, DatasetCard
from fedward_core.engine import Job
from fedward_core.events import Event
from fedward_core.manifest import Manifest
from fedward_core.order import Order, Reply, Work
from fedward_core.packed_arrays import pack
from fedward_core.partition import Role, Rule
from fedward_core.plan import StagePlan
from fedward_core.spec import Spec
from fedward_server.flower.exchange import PACKED, GridExchange
from fedward_server.flower.inline_grid import InlineGrid
from fedward_server.rounds.planning import Planned, PlanRequest
from fedward_server.rounds.run import Run

REPEATS = 2
SITES = (2, 32)
ROUNDS = 2  # from the second on, each site gets what travelled at its last round


def main() -> None:
    """Measure every number of sites, and the bare loop, in processes of their own."""
    bare = Spread(tuple(models("bare") for _ in range(REPEATS)))
    rows = []
    for sites in SITES:
        whole = Spread(tuple(models(str(sites)) for _ in range(REPEATS)))
        rows.append((sites, whole, bare, whole.over(bare)))
    note = (
        f"The round loop with Flower's messages, {ROUNDS} rounds, a model of {NUM_BYTES / 1e6:.0f} MB, {REPEATS} fresh "
        "processes: the greatest resident memory less that before the run, over the size of the model. Sites "
        "answer one at a time and are not counted. The bare loop keeps the weights, the sum and one update."
    )
    print_table("Memory of the coordinator", ("sites", "models", "bare loop, models", "ratio"), rows, note)


def models(case: str) -> float:
    """One case in a process of its own."""
    return figure_of_process(PYTHON, "-m", "benchmarks.server_memory", case)


def run(num_sites: int, answer: bytes) -> None:
    """Two rounds of the round loop; sites are a function that answers with a copy of packed weights."""
    sites = tuple(f"site-{index:02d}" for index in range(num_sites))
    grid = InlineGrid(stand_in(sites, answer), num_nodes=num_sites, workers=1)
    nodes = {site: node for node, site in enumerate(sites, start=1)}
    with tempfile.TemporaryDirectory() as folder:
        job = Job(spec=spec(num_sites), run="memory", sites=sites, data=Path(folder), out=Path(folder) / "out")
        Run(job, GridExchange(grid, nodes, poll_s=0.0, ttl_s=3600.0), plan, ignore).run()


def ignore(event: Event) -> None:
    """Nobody listens."""


def spec(num_sites: int) -> Spec:
    """A rehearsal; its weights come from :func:`plan`."""
    return Spec.parse(
        {
            "name": "memory",
            "dataset": {"name": "none"},
            "cohort": {"min_sites": num_sites, "round_deadline_s": 3600},
            "stages": [{"name": "rehearse", "method": "rehearsal", "rounds": ROUNDS}],
        }
    )


def plan(request: PlanRequest) -> Planned:
    """Weights of zeros, all of them shared."""
    initial = weights(0.0)
    rules = (Rule(pattern=r".*", role=Role.SHARED),)
    plan = StagePlan(manifest=Manifest.of(initial), rules=rules, contract=request.contract)
    return Planned(plan=plan, weights=initial)


def stand_in(sites: tuple[str, ...], answer: bytes) -> ClientApp:
    """Answers for every site; a training order with a copy of packed weights, as they come from a wire."""
    app = ClientApp()

    def handle(message: Message, context: Context) -> Message:
        order = Order.model_validate_json(str(message.content.config_records["order"]["json"]))
        site = sites[int(context.node_config["partition-id"])]
        content = RecordDict({"reply": ConfigRecord({"json": reply(order, site).model_dump_json()})})
        if order.work is Work.TRAIN:
            packed = bytes(memoryview(answer))
            content["group.shared"] = ArrayRecord({PACKED: FlowerArray("uint8", (len(packed),), PACKED, packed)})
        return Message(content=content, reply_to=message)

    app.train()(handle)
    app.evaluate()(handle)
    app.query()(handle)
    return app


def reply(order: Order, site: str) -> Reply:
    """The facts of an answer."""
    card = DatasetCard(
        site=site, dataset="none", contract=Contract(classes=()), num_images={}, num_patients={}, digest=""
    )
    return Reply(
        site=site,
        work=order.work,
        round=order.round,
        parent=order.parent,
        num_examples=1,
        num_steps=1,
        metrics={"loss": 0.0},
        card=card if order.work is Work.DESCRIBE else None,
    )


def run_bare() -> None:
    """A plain sum of two updates, while the weights are kept for the next round."""
    shared, total = weights(0.0), weights(0.0)
    for _ in range(2):
        for name, array in weights(0.5).items():
            total[name] += 0.5 * array
    assert shared.keys() == total.keys()


def resident_bytes(figure: str) -> int:
    """``VmRSS``, what is resident now, or ``VmHWM``, the greatest that it ever was."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(figure))


def measure(case: str) -> float:
    """The memory of one case, in models."""
    answer = pack(weights(0.5)) if case != "bare" else b""  # the sites' own, and so part of what is there before
    idle = resident_bytes("VmRSS")
    if case == "bare":
        run_bare()
    else:
        run(int(case), answer)
    return (resident_bytes("VmHWM") - idle) / NUM_BYTES


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(measure(sys.argv[1]))
