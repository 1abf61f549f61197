"""Serves a coordinator on one port until it is told to end."""

import asyncio
import os
import socket
import ssl
from typing import Any

import uvicorn
from fastapi import FastAPI

from fedward_server.errors import ConflictError, InvalidError
from fedward_server.tls import TLSFiles

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


def serve(app: FastAPI, listener: socket.socket, *, tls: TLSFiles | None = None) -> None:
    """Serve until Ctrl-C or SIGTERM.

    Args:
        app: What :func:`fedward_server.api.app.create_app` gave.
        listener: Where to listen.
        tls: The files of the port; without them it speaks plain HTTP.

    Raises:
        ConflictError: Another coordinator acts on the database.
        DatabaseAwayError: The database does not answer.
        InvalidError: The files of the port cannot be used.
    """
    config = uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=CLOSE_S, **_files(tls))
    asyncio.run(app.state.prepare())  # it would be refused within the server too, but with a trace instead of a word
    uvicorn.Server(config).run(sockets=[listener])


def _files(tls: TLSFiles | None) -> dict[str, Any]:
    if tls is None:
        return {}
    try:
        ssl.create_default_context(cafile=tls.authority)
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(tls.certificate, tls.key)
    except OSError as error:  # ssl.SSLError is one
        raise InvalidError(
            "the files of the port's TLS cannot be used: expected PEM files of a certificate, its own private key "
            f"without a password, and the authority's certificate ({error.strerror or error})"
        ) from None
    return {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key}
