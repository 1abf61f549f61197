"""Starts, follows and stops Flower runs: the only module that speaks to Flower's Control API.

The Control API has no authentication: its SuperLink must listen on loopback, and nothing may forward it.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Self

import httpx
from flwr.app import UserConfig
from flwr.common.serde import fab_to_proto, user_config_to_proto
from flwr.proto import control_pb2 as messages
from flwr.supercore.fab import Fab

from fedward_core.errors import FedwardError
from fedward_server.errors import ConflictError
from fedward_server.flower.connection import Connection

FINISHED = "finished"
UNREGISTERED = "unregistered"


class RunRefusedError(FedwardError):
    """The SuperLink does not take a run, or does not know it."""


class UsedKeyError(RunRefusedError, ConflictError):
    """A key that was registered before, and so never can be again."""


class SuperLinkAwayError(FedwardError):
    """The SuperLink does not answer, or cannot at the moment, e.g. because its database is busy: ask again."""


@dataclass(frozen=True, kw_only=True)
class FlowerStatus:
    """Where a Flower run stands.

    Attributes:
        status: ``pending``, ``starting``, ``running`` or ``finished``.
        outcome: ``completed``, ``failed`` or ``stopped`` once finished, else empty.
        details: Flower's own words.
    """

    status: str
    outcome: str
    details: str

    @property
    def begun(self) -> bool:
        """Whether a ServerApp has taken the run up."""
        return self.status not in {"pending", "starting"}

    @property
    def finished(self) -> bool:
        """Whether the run has ended, in whatever way."""
        return self.status == FINISHED


@dataclass(frozen=True, kw_only=True)
class Node:
    """A SuperNode as the SuperLink sees it.

    Attributes:
        id: Flower's id, an unsigned 64-bit number: store it as text.
        name: The name under which it was registered; empty without registration.
        online: Whether it has been heard of lately.
        public_key: The key that it was registered with.
    """

    id: int
    name: str
    online: bool
    public_key: bytes = b""


class FlowerControl:
    """A client of one SuperLink's Control API; a context manager that ends the connection.

    Every call may raise :class:`SuperLinkAwayError`, and :class:`RunRefusedError` where the SuperLink says no.

    Args:
        connection: The SuperLink.
    """

    def __init__(self, connection: Connection) -> None:
        self._client = connection.control()

    def start_run(self, bundle: bytes, config: UserConfig) -> int:
        """Submit a bundle.

        Args:
            bundle: The app bundle's bytes, at most 10 MB.
            config: The run config; its keys must be declared in the bundle.

        Returns:
            The Flower run's id, an unsigned 64-bit number: store it as text.

        Raises:
            RunRefusedError: The SuperLink did not take it.
        """
        fab = fab_to_proto(Fab(hashlib.sha256(bundle).hexdigest(), bundle, {}))
        request = messages.StartRunRequest(fab=fab, override_config=user_config_to_proto(config))
        with _errors_translated():
            reply = self._client.StartRun(request)
        if not reply.HasField("run_id"):
            raise RunRefusedError("the SuperLink did not take the run: see its log")
        return reply.run_id

    def status(self, run_id: int) -> FlowerStatus:
        """Where a run stands."""
        with _errors_translated():
            runs = self._client.ListRuns(messages.ListRunsRequest(run_id=run_id)).run_dict
        status = runs[run_id].status
        return FlowerStatus(status=status.status, outcome=status.sub_status, details=status.details)

    def stop_run(self, run_id: int) -> None:
        """Stop a run. Its ServerApp ends within seconds; work that a site has begun goes on until its agent ends it."""
        with _errors_translated():
            self._client.StopRun(messages.StopRunRequest(run_id=run_id))

    def nodes(self) -> tuple[Node, ...]:
        """Every node that the SuperLink knows."""
        with _errors_translated():
            found = self._client.ListNodes(messages.ListNodesRequest()).nodes_info
        return tuple(
            Node(id=node.node_id, name=node.name, online=node.status == "online", public_key=node.public_key)
            for node in found
            if node.status != UNREGISTERED
        )

    def register_node(self, public_key: bytes, name: str) -> int:
        """Register a site's public key under the site's name, and give the node's id.

        Raises:
            UsedKeyError: The key was registered before.
        """
        with _errors_translated(), _used_key_told():
            return self._client.RegisterNode(messages.RegisterNodeRequest(public_key=public_key, name=name)).node_id

    def unregister_node(self, node_id: int) -> None:
        """Let a node in no more. Its key can never be registered again: a site that returns makes a new one."""
        with _errors_translated():
            self._client.UnregisterNode(messages.UnregisterNodeRequest(node_id=node_id))

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextmanager
def _errors_translated() -> Iterator[None]:
    try:
        yield
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if error.response.is_client_error:
            raise RunRefusedError(f"the SuperLink refused (HTTP {status}): does it know the run? See its log") from None
        raise SuperLinkAwayError(f"the SuperLink cannot answer now (HTTP {status}): see its log") from None
    except httpx.HTTPError:
        raise SuperLinkAwayError("the SuperLink does not answer: is it running?") from None


@contextmanager
def _used_key_told() -> Iterator[None]:
    """Flower has one status for a used key and for one of another kind; whoever enrols a site has checked the kind."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        if error.response.status_code != HTTPStatus.PRECONDITION_FAILED:
            raise
        raise UsedKeyError(
            "this key was used before, and a key is registered only once: move key.pem out of the agent's home folder "
            "and enrol again with the same token, so that a new one is made"
        ) from None
