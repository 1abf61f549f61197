"""How this side reaches the Runtime API of a SuperNode, which listens on loopback and is asked over plain HTTP."""

from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient

ACQUIRE_TASK = "/flwr.proto.Runtime/AcquireTask"


def connect(address: str, token: str | None = None, *, secret: bytes | None = None) -> RuntimeHttpClient:
    """A client of a SuperNode.

    Args:
        address: ``host:port`` of its Runtime API.
        token: Of the task that the client speaks for; without one, it takes tasks.
        secret: What the SuperNode asks of whoever takes tasks.
    """
    interceptors: list[ProtobufClientInterceptor] = [RuntimeVersionHttpInterceptor(component_name="fedward-agent")]
    if token is not None:
        interceptors.append(RuntimeTokenHttpInterceptor(token))
    if secret is not None:
        interceptors.append(SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=[ACQUIRE_TASK]))
    return RuntimeHttpClient.from_server_address(address, True, None, interceptors)
