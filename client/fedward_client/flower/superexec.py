"""The site's SuperExec: takes the SuperNode's tasks, and starts a client app only if the site has approved it.

A task names the app's digest before any of its code is unpacked. Whatever is not approved is answered by a coded error,
which reaches the run at once; nothing of the app is touched.
"""

import logging
from typing import Protocol

import httpx
from flwr.app import Error, Message
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.proto.task_pb2 import Task
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from fedward_client.agent.settings import AgentSettings
from fedward_core.refusal import REFUSED, Ground, Refusal

log = logging.getLogger(__name__)


class Launcher(Protocol):
    """Starts client apps."""

    def start(self, address: str, token: str) -> None:
        """Start the client app of a task.

        Args:
            address: The SuperNode's Runtime API.
            token: Lets the app fetch the task's message and answer it.
        """


class SuperExec:
    """Takes tasks of one SuperNode.

    Args:
        settings: The site, and the apps that it has approved.
        address: ``host:port`` of the SuperNode's Runtime API, on loopback.
        launcher: Starts approved client apps.
    """

    def __init__(self, settings: AgentSettings, address: str, launcher: Launcher) -> None:
        self._settings = settings
        self._address = address
        self._launcher = launcher
        self._client = self._connect()

    def step(self) -> bool:
        """Take one task if there is one.

        Returns:
            Whether there was one. A SuperNode that does not answer, e.g. because it is starting, has none; a task whose
            refusal does not reach it is offered again.
        """
        try:
            offer = self._client.AcquireTask(AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP]))
            if not (offer.HasField("task") and offer.token):
                return False
            self.take(offer.task, offer.token)
        except httpx.HTTPError:
            return False
        return True

    def take(self, task: Task, token: str) -> None:
        """Start a task's client app, or refuse the task."""
        if task.type != TaskType.CLIENT_APP:
            log.warning("site %s: a task of type '%s' was offered and refused", self._settings.site, task.type)
            self._give_up(token)
        elif task.fab_hash not in self._settings.approved:
            log.warning("site %s: app %s is not approved, and was refused", self._settings.site, task.fab_hash)
            self._refuse(token)
        else:
            self._launcher.start(self._address, token)

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _refuse(self, token: str) -> None:
        """Answer the message in the app's stead."""
        client = self._connect(RuntimeTokenHttpInterceptor(token))
        refusal = Refusal(site=self._settings.site, ground=Ground.UNAPPROVED_APP)
        try:
            message, context, _, _ = pull_task_input(client)
            error = Error(code=REFUSED, reason=refusal.model_dump_json())
            push_message(client, Message(error, reply_to=message), context)
            push_task_output(client, context, SubStatus.FAILED, refusal.ground)
        except RuntimeError:  # Flower's word for a message that is no longer there, so that nobody waits for an answer
            push_task_output(client, None, SubStatus.FAILED, refusal.ground)
        finally:
            client.close()

    def _give_up(self, token: str) -> None:
        """End a task that has no message to answer."""
        client = self._connect(RuntimeTokenHttpInterceptor(token))
        try:
            push_task_output(client, None, SubStatus.FAILED, "this site runs client apps only")
        finally:
            client.close()

    def _connect(self, *interceptors: ProtobufClientInterceptor) -> RuntimeHttpClient:
        return RuntimeHttpClient.from_server_address(
            server_address=self._address,
            insecure=True,
            root_certificates=None,
            interceptors=[RuntimeVersionHttpInterceptor(component_name="fedward-agent"), *interceptors],
        )
