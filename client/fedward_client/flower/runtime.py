"""How this side reaches the Runtime API of a SuperNode, which listens on loopback and is asked over plain HTTP."""

from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, RuntimeVersionHttpInterceptor
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.runtime import RuntimeHttpClient


def connect(address: str, token: str | None = None) -> RuntimeHttpClient:
    """A client of a SuperNode.

    Args:
        address: ``host:port`` of its Runtime API.
        token: Of the task that the client speaks for; without one, it takes tasks.
    """
    interceptors: list[ProtobufClientInterceptor] = [RuntimeVersionHttpInterceptor(component_name="fedward-agent")]
    if token is not None:
        interceptors.append(RuntimeTokenHttpInterceptor(token))
    return RuntimeHttpClient.from_server_address(address, True, None, interceptors)
