"""Serves a coordinator on one port until it is told to end."""

import os
import socket

import uvicorn
from fastapi import FastAPI

from fedward_server.errors import ConflictError

# An open event stream must not hold up the end of the coordinator.
CLOSE_S = 2


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes any that is free.

    Raises:
        ConflictError: The port is in use, or the address is none of this machine.
    """
    try:
        return socket.create_server((host, port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "the system refused"
        raise ConflictError(f"cannot listen on {host}:{port} ({reason}): choose another --port or --host") from error


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=CLOSE_S)
    uvicorn.Server(config).run(sockets=[listener])
