"""Runs side by side, each a process of its own."""

import os
import signal

import pytest

from fedward_cli.comparison.side_by_side import interrupt_once


def test_a_second_interrupt_does_not_disturb_what_the_first_has_begun() -> None:
    before = signal.signal(signal.SIGINT, interrupt_once)
    try:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
