"""How this side reaches a SuperLink: one address, its certificate authority where it speaks TLS, and its secret.

<keys>/authority.pem       whom to trust; absent where the SuperLink speaks plain HTTP
<keys>/started             differs after each start of the SuperLink
<keys>/superexec.secret    lets whoever has it take tasks; absent where nobody is asked for one
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx
from flwr.supercore.control import ControlHttpClient
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

from fedward_core.engine import Job

AUTHORITY, SECRET, STARTED = "authority.pem", "superexec.secret", "started"
ACQUIRE_TASK = "/flwr.proto.Runtime/AcquireTask"
HEALTH_TIMEOUT_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Connection:
    """A SuperLink as its clients see it.

    Attributes:
        address: ``host:port``, on loopback.
        keys: The folder of authority and secret; None where there is neither.
    """

    address: str
    keys: Path | None = None

    @classmethod
    def of(cls, job: Job) -> Self | None:
        """The SuperLink at which a job's sites are; None if it has none yet."""
        return None if job.superlink is None else cls(address=job.superlink, keys=job.superlink_keys)

    @property
    def authority(self) -> Path | None:
        """The certificate authority; None over plain HTTP."""
        return self._file(AUTHORITY)

    @property
    def started(self) -> str:
        """Differs after each start of the SuperLink; empty where nobody restarts it."""
        path = self._file(STARTED)
        return path.read_text(encoding="utf-8") if path else ""

    def control(self) -> ControlHttpClient:
        """A client of the Control API."""
        return ControlHttpClient.from_server_address(
            self.address, self.authority is None, self._certificates(), [_version()]
        )

    def runtime(self, token: str | None = None) -> RuntimeHttpClient:
        """A client of the Runtime API: with a task's token, of that task; without, it takes tasks."""
        interceptor = self._secrecy() if token is None else RuntimeTokenHttpInterceptor(token)
        interceptors = [_version()] if interceptor is None else [_version(), interceptor]
        return RuntimeHttpClient.from_server_address(
            self.address, self.authority is None, self._certificates(), interceptors
        )

    def arguments(self) -> list[str]:
        """What a program of Flower is told beside the address."""
        return ["--insecure"] if self.authority is None else ["--root-certificates", str(self.authority)]

    def healthy(self) -> bool:
        """Whether the SuperLink answers."""
        scheme, verify = ("http", False) if self.authority is None else ("https", _trusting(self.authority))
        try:
            return httpx.get(
                f"{scheme}://{self.address}/health", timeout=HEALTH_TIMEOUT_S, verify=verify, trust_env=False
            ).is_success
        except httpx.HTTPError:
            return False

    def _certificates(self) -> bytes | None:
        return self.authority.read_bytes() if self.authority else None

    def _secrecy(self) -> ProtobufClientInterceptor | None:
        secret = self._file(SECRET)
        if secret is None:
            return None
        return SuperExecAuthHttpInterceptor(master_secret=secret.read_bytes(), protected_methods=[ACQUIRE_TASK])

    def _file(self, name: str) -> Path | None:
        return self.keys / name if self.keys and (self.keys / name).exists() else None


def _version() -> ProtobufClientInterceptor:
    return RuntimeVersionHttpInterceptor(component_name="fedward-server")


def _trusting(authority: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(authority))
