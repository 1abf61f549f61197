"""The way to the coordinator: whether it answers, its clock, its certificate, its version."""

import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from fedward_cli.checkup.finding import Finding, fault, warning, well
from fedward_core import __version__
from fedward_core.clocks import ahead_s

TIMEOUT_S = 10.0
DAY_S = 86400.0
RENEW_DAYS = 30
# Flower refuses what is signed more than 5 s ahead of, or 305 s behind, the other clock; a second is the header's step.
MOST_AHEAD_S, MOST_BEHIND_S, USUAL_S = 5.0, 300.0, 2.0


def examine_way(url: str, authority: Path | None) -> Iterator[Finding]:
    """Look at the way to a coordinator.

    Args:
        url: Its address.
        authority: The certificate of the authority that signed its own; None for a public one.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or 443
    except ValueError:
        yield fault("coordinator", "its address is none: expected e.g. https://fedward.example.org:8080")
        return
    try:
        trust = ssl.create_default_context(cafile=authority)
    except OSError:
        yield fault("certificate authority", "cannot be read: expected a PEM file with a certificate")
        return
    if parts.scheme == "https":
        yield _certificate(parts.hostname or "", port, trust)
    try:
        answer = httpx.get(f"{url.rstrip('/')}/api/v1/health", verify=trust, timeout=TIMEOUT_S)
        health = dict(answer.raise_for_status().json())
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, TypeError) as error:
        yield fault(
            "coordinator", f"does not answer ({error or type(error).__name__}): is it running, is the way open?"
        )
        return
    yield well("coordinator", f"answers at {parts.hostname}")
    yield _version(str(health.get("version", "")))
    yield _clock(answer)


def _certificate(host: str, port: int, trust: ssl.SSLContext) -> Finding:
    about = "TLS certificate"
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_S) as plain,
            trust.wrap_socket(plain, server_hostname=host) as wrapped,
        ):
            certificate = wrapped.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return fault(about, f"is not accepted: {error.verify_message}. Give the right authority, or renew it")
    except UnicodeError:
        return fault(about, "could not be looked at: the coordinator's name is none that a machine can have")
    except OSError as error:
        return fault(about, f"could not be looked at: {error.strerror or error}")
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - time.time()) / DAY_S
    if days < RENEW_DAYS:
        return warning(about, f"expires in {days:.0f} days: have it renewed")
    return well(about, f"is valid for {days:.0f} days")


def _version(theirs: str) -> Finding:
    about = "coordinator's version"
    if theirs != __version__:
        return fault(about, f"is {theirs}, and here is {__version__}: install the same release at both")
    return well(about, theirs)


def _clock(answer: httpx.Response) -> Finding:
    now_s = time.time()
    try:
        ahead = ahead_s(answer.headers["Date"], asked_s=now_s - answer.elapsed.total_seconds(), heard_s=now_s)
    except (KeyError, ValueError):
        return warning("clock", "cannot be compared: a proxy on the way tells no time, or none that can be read")
    words = f"is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the coordinator's"
    if ahead > MOST_AHEAD_S or -ahead > MOST_BEHIND_S:
        return fault("clock", f"{words}, and Flower refuses that: set it by a time server")
    if abs(ahead) > USUAL_S:
        return warning("clock", f"{words}: set it by a time server")
    return well("clock", "agrees with the coordinator's")
