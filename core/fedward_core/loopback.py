"""This machine as it is reached from itself alone."""

import socket

LOOPBACK = "127.0.0.1"
HERE = (LOOPBACK, "localhost", "::1")  # all names under which a machine reaches itself


def free_port() -> int:
    """A port of the loopback address that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
