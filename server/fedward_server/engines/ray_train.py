"""The ray_train engine: several GPUs or machines that train each site together, by Ray Train.

    this process                  worker 0                          worker 1
    hears of events       <-----  the run, in its folder            the same run, in a copy of the folder
                                  at every step: own share of the batch -> gradients -> their mean over the workers

Every worker carries the whole run out, and they meet at the gradients, so that each of them has the same weights at the
same step. If one dies the run ends, and goes on from its last round when it is run again, with as many workers or
others. RAY_ADDRESS names a cluster, whose machines must all see the folders of the data and of the run; without it Ray
is started on this machine.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import ray
from ray.util.queue import Empty, Queue

from fedward_core.engine import Job
from fedward_core.errors import FedwardError, RoundError, SpecError
from fedward_core.events import Event, Listener
from fedward_server.engines.inline import InlineEngine
from fedward_server.engines.installed import check_installed

if TYPE_CHECKING:
    from ray.train.torch import TorchTrainer

POLL_S = 0.2
# A worker waits for the others at every step, and all of them while a site's job gives way to a federation.
PATIENCE_S = 24 * 3600
OWN_FOLDER = "ray"  # Ray Train's, within the run's
_NOT_COPIED = (OWN_FOLDER, "data", "network")


class RayTrainEngine:
    """Carries a job out with ``job.workers`` workers.

    Results depend on how many there are: in their last bits, and more where a loss compares images of a batch or a
    network norms them together.
    """

    def run(self, job: Job, listen: Listener) -> None:
        """Run, or take up, a job; see :class:`fedward_core.engine.Engine`."""
        _check_batches(job)
        check_installed("ray_train", job.spec)
        job = replace(job, data=job.data.absolute(), out=job.out.absolute())  # workers may stand elsewhere
        shutil.rmtree(job.out / OWN_FOLDER, ignore_errors=True)
        with _ray_for(job) as with_gpus:
            told, heard = (Queue(actor_options={"num_cpus": 0}) for _ in range(2))
            given = {"job": job, "told": told, "heard": heard}
            _follow(_started(_trainer(given, with_gpus=with_gpus)), told, heard, listen)
        shutil.rmtree(job.out / OWN_FOLDER, ignore_errors=True)


def _trainer(given: dict[str, Any], *, with_gpus: bool) -> "TorchTrainer":
    from ray.train import RunConfig, ScalingConfig  # noqa: PLC0415 - an extra
    from ray.train.torch import TorchConfig, TorchTrainer  # noqa: PLC0415 - torch

    job: Job = given["job"]
    return TorchTrainer(
        _work,
        train_loop_config=given,
        scaling_config=ScalingConfig(num_workers=job.workers, use_gpu=with_gpus),
        torch_config=TorchConfig(timeout_s=PATIENCE_S),
        run_config=RunConfig(name=job.run, storage_path=str(job.out / OWN_FOLDER)),
    )


def _started(trainer: "TorchTrainer") -> "Future[Any]":
    """Train in a thread, so that this one hears of events; one that nobody waits for, so that Ctrl-C ends at once."""
    training: Future[Any] = Future()

    def fit() -> None:
        try:
            training.set_result(trainer.fit())
        except Exception as error:  # noqa: BLE001 - it is told to whoever waits
            training.set_exception(error)

    Thread(target=fit, daemon=True).start()
    return training


def _follow(training: "Future[Any]", told: Queue, heard: Queue, listen: Listener) -> None:
    """Hear of every event until training has ended; worker 0 goes on once it was heard.

    Raises:
        FedwardError: What ended the run at a worker.
    """
    while True:
        ended = training.done()  # before the look, so that nothing told before the end is missed
        try:
            news = told.get(timeout=POLL_S)
        except Empty:
            if ended:
                break
            continue
        if isinstance(news, FedwardError):
            raise news
        listen(Event.model_validate_json(news))
        heard.put(None)
    if failure := training.exception():
        raise RoundError(f"a worker of Ray Train was lost: run again to go on ({type(failure).__name__})") from failure


def _work(given: dict[str, Any]) -> None:
    """What each worker does."""
    from ray.train import get_context  # noqa: PLC0415 - an extra
    from ray.train.collective import barrier  # noqa: PLC0415

    job, told, heard = given["job"], given["told"], given["heard"]

    def tell(event: Event) -> None:
        told.put(event.model_dump_json())
        heard.get()

    first = get_context().get_world_rank() == 0
    try:
        with _folder_of(job, first=first) as out:
            barrier()  # nobody writes before everybody has copied
            own = replace(job, out=out, workers=1, reuse=None)
            InlineEngine().run(own, tell if first else lambda _: None)
    except FedwardError as error:
        told.put(error)
        raise


@contextmanager
def _folder_of(job: Job, *, first: bool) -> Iterator[Path]:
    """The run's folder for the first worker; for others a copy of what the run has reached, removed afterwards."""
    if first:
        yield job.out
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "run"
        if job.out.exists():
            shutil.copytree(job.out, copy, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        yield copy


@contextmanager
def _ray_for(job: Job) -> Iterator[bool]:
    """Ray while the block lasts, on this machine or at RAY_ADDRESS; tells whether workers have GPUs."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    # A cluster has its own number of CPUs, which Ray does not let its users set.
    num_cpus = None if os.environ.get("RAY_ADDRESS") else job.workers
    try:
        ray.init(num_cpus=num_cpus, include_dashboard=False, log_to_driver=False)
    except Exception as error:  # Ray raises nothing narrower
        raise RoundError(f"Ray did not start ({error}): run again, on a machine that is less busy") from error
    try:
        gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
        if 0 < gpus < job.workers:
            raise SpecError(f"{job.workers} workers were asked for, but Ray sees {gpus} GPUs: take as many or fewer")
        yield gpus > 0
    finally:
        ray.shutdown()


def _check_batches(job: Job) -> None:
    """Shares are equally large, or images would count differently."""
    for stage in job.spec.stages:
        if stage.local.batch_size % job.workers:
            raise SpecError(
                f"stage '{stage.name}': local.batch_size {stage.local.batch_size} cannot be divided among "
                f"{job.workers} workers: take a multiple"
            )
