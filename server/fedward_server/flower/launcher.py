"""The server's SuperExec: takes the SuperLink's ServerApp tasks, and starts those whose jobs were approved here.

Any client that reaches the SuperLink's Control API can submit a run, so a run that nobody here knows is not started.

Several attempts may share a SuperLink, each with a launcher of its own, and Flower gives the oldest task to whoever
asks first. So a launcher hands a task of another's on, through the folder that they share:

<keys>/tasks/<Flower run>.token      a task's token, for the launcher that waits for it
"""

import signal
import sysconfig
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import httpx
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest, PushTaskOutputRequest
from flwr.supercore.constant import TaskType

from fedward_core.atomic import write_secret
from fedward_core.engine import Job
from fedward_core.processes.launching import Child, end_child, start_child
from fedward_server.flower.connection import Connection
from fedward_server.flower.job_file import JOB_FILE, write_job

TOKEN_S = 30.0  # Flower offers a task again whose token was not used for so long


class ServerAppLauncher:
    """Takes tasks of one SuperLink; a context manager that ends what it started.

    Args:
        connection: The SuperLink.
        home: Its folder: jobs, tokens, logs, and what Flower keeps.
    """

    def __init__(self, connection: Connection, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self._connection = connection
        self._home = home
        self._shared = connection.keys / "tasks" if connection.keys else None
        self._approved: dict[int, Job] = {}
        self._children: dict[int, Child] = {}
        self._client = connection.runtime()

    def approve(self, run_id: int, job: Job) -> None:
        """Let a Flower run carry out a job; until then its task is left where it is."""
        self._approved[run_id] = job

    def step(self) -> None:
        """Take one task if there is one and a job waits; a SuperLink that does not answer is asked at the next step."""
        waiting = self._approved.keys() - self._children.keys()
        for run_id in waiting:
            if token := self._handed_on(run_id):
                self._children[run_id] = self._start(run_id, token)
                return
        if waiting:
            self._ask()

    def ended(self, run_id: int) -> bool:
        """Whether the process of a run was started and has ended."""
        return run_id in self._children and self._children[run_id].poll() is not None

    def try_again(self, run_id: int) -> None:
        """Wait for a run's task anew: its process has ended before it began, and Flower offers the task again."""
        end_child(self._children.pop(run_id))

    def close(self) -> None:
        """End every ServerApp, and the connection."""
        for child in self._children.values():
            end_child(child)
        for token in self._home.glob("*.token"):
            token.unlink()
        self._children.clear()
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self) -> None:
        try:
            offer = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.SERVER_APP]))
        except httpx.HTTPError:
            return
        if offer.HasField("task") and offer.token:
            self._take(offer.task.run_id, offer.token)

    def _take(self, run_id: int, token: str) -> None:
        if run_id in self._approved.keys() - self._children.keys():
            self._children[run_id] = self._start(run_id, token)
        elif self._shared is not None:
            self._shared.mkdir(mode=0o700, exist_ok=True)
            write_secret(self._shared / f"{run_id}.token", token.encode(), durable=False)
        else:
            self._refuse(token)

    def _handed_on(self, run_id: int) -> str | None:
        """The token that another launcher took for a run of ours, if it is still good."""
        if self._shared is None:
            return None
        path = self._shared / f"{run_id}.token"
        with suppress(FileNotFoundError):
            age_s, token = time.time() - path.stat().st_mtime, path.read_text(encoding="utf-8")
            path.unlink()
            return token if age_s < TOKEN_S else None
        return None

    def _start(self, run_id: int, token: str) -> Child:
        job_file, token_file = self._home / f"{run_id}.job.json", self._home / f"{run_id}.token"
        write_job(job_file, self._approved[run_id])
        write_secret(token_file, token.encode(), durable=False)
        program = Path(sysconfig.get_path("scripts")) / "flwr-serverapp"
        place = ["--runtime-api-address", self._connection.address, *self._connection.arguments()]
        # Nothing of a run may be written by an attempt that is dead, so its ServerApp gets no time when it is killed.
        return start_child(
            [str(program), *place, "--token-file", str(token_file)],
            log=self._home / "server-app.log",
            environment={"FLWR_HOME": str(self._home / "flower"), JOB_FILE: str(job_file)},
            at_starters_death=signal.SIGKILL,
        )

    def _refuse(self, token: str) -> None:
        client = self._connection.runtime(token)
        try:
            client.PushTaskOutput(
                PushTaskOutputRequest(sub_status=SubStatus.FAILED, details="no job was approved for this run")
            )
        finally:
            client.close()
