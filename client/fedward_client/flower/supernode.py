"""Starts Flower's SuperNode with shorter pauses: ``python -m fedward_client.flower.supernode`` takes its arguments.

Flower's main loop sleeps 3 s whenever there is no message, and 0.5 s between two looks for a reply; there is no setting
for either. Here both follow :class:`fedward_client.pace.Pace`, and pieces of a message that are still on their way are
asked for again soon. This rests on the loop calling ``time.sleep`` of its module and nothing else of ``time``, and a
test says so when a new Flower does otherwise. The loop is mended, too: see :mod:`fedward_client.flower.message_loop`,
:mod:`fedward_client.flower.sending` and :mod:`fedward_client.flower.lost_orders`.
"""

import time
from collections.abc import Callable

from flwr.supernode import start_client_internal
from flwr.supernode.cli import flower_supernode

from fedward_client.flower.lost_orders import mind_lost_orders
from fedward_client.flower.message_loop import mend_message_loop
from fedward_client.flower.pulling import ask_again_soon
from fedward_client.flower.sending import mend_sending
from fedward_client.pace import Pace

IDLE_S = 3  # Flower's sleep when there was no message; it sleeps less only while a message is at work


class BriskClock:
    """Stands in for the ``time`` module in Flower's main loop.

    Args:
        pace: Knows when there was work.
        while_waiting: Called while a reply is waited for.
    """

    def __init__(self, pace: Pace, while_waiting: Callable[[], None]) -> None:
        self._pace = pace
        self._while_waiting = while_waiting

    def sleep(self, seconds: float) -> None:
        """Sleep as long as the pace says, and never longer than asked."""
        if seconds < IDLE_S:
            self._pace.worked()
            self._while_waiting()
        time.sleep(min(seconds, self._pace.pause_s))


def change_flower() -> None:
    """Put the clock into Flower's main loop, and mend it."""
    loop = mend_message_loop(start_client_internal)
    mend_sending(start_client_internal)
    mind_lost_orders()
    vars(start_client_internal)["time"] = BriskClock(Pace(), loop.while_waiting)
    ask_again_soon(start_client_internal, "pull_objects")


if __name__ == "__main__":
    change_flower()
    flower_supernode()
