"""Notices that an order may have been lost on its way, and lets it be sent again.

A SuperLink gives an order out once, in the answer to a node's look for messages, and asks for no receipt. If that
answer is lost, as a coordinator is killed or a connection breaks, Flower's client looks again and finds nothing, and
the round waits for the site until its deadline.

Here the node then signs out and in: the round loop sends a node that was away what it had, once more. At worst the site
does a piece of work twice, with the same result.
"""

from contextlib import suppress

import httpx
from flwr.common.constant import HEARTBEAT_DEFAULT_INTERVAL
from flwr.proto.fleet_pb2 import DeactivateNodeRequest, PullMessagesRequest, PullMessagesResponse
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatRequest
from flwr.proto.node_pb2 import Node
from flwr.supernode import fleet_http_connection
from flwr.supernode.fleet_http_client import FleetHttpClient

CLIENT = "FleetHttpClient"
# The call may have arrived. One that met nobody, or a coordinator whose SuperLink is down, has not.
IN_DOUBT = (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError)


class CarefulClient(FleetHttpClient):
    """Flower's client of a SuperLink, whose node signs in anew after a look for messages that was not answered."""

    _is_in_doubt = False

    def PullMessages(self, request: PullMessagesRequest) -> PullMessagesResponse:  # noqa: N802 - Flower's name
        """Look for a message.

        Raises:
            httpx.HTTPError: There was no answer, or an error; Flower looks again where that can help.
        """
        try:
            answer = super().PullMessages(request)
        except IN_DOUBT:
            self._is_in_doubt = True
            raise
        if self._is_in_doubt and not answer.messages_list:
            self._sign_in_anew(request.node)
            self._is_in_doubt = False
        return answer

    def _sign_in_anew(self, node: Node) -> None:
        with suppress(httpx.HTTPStatusError):  # it was away for so long that it has been signed out
            self.DeactivateNode(DeactivateNodeRequest(node_id=node.node_id))
        beat = SendNodeHeartbeatRequest(node=node, heartbeat_interval=HEARTBEAT_DEFAULT_INTERVAL)
        self.SendNodeHeartbeat(beat)  # which signs it in


def mind_lost_orders() -> None:
    """Let Flower's SuperNode use the careful client."""
    vars(fleet_http_connection)[CLIENT] = CarefulClient
