"""The port with TLS: who trusts its authority is served, plain HTTP is not, and wrong files are named at the start."""

import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedward_server.api.app import create_app
from fedward_server.api.serving import listening, serve
from fedward_server.errors import InvalidError
from fedward_server.home import Home
from fedward_server.tls import TLSFiles


def test_a_port_with_tls_is_served_to_those_who_trust_its_authority(
    tls_files: TLSFiles, tmp_path: Path, coordinator_at: Any
) -> None:
    coordinator = coordinator_at(tmp_path / "home", tls=tls_files)
    coordinator.start()
    try:
        trusting = ssl.create_default_context(cafile=tls_files.authority)
        assert httpx.get(f"{coordinator.url}/health", verify=trusting).json()["status"] == "ok"
        with pytest.raises(httpx.ConnectError, match="certificate"):
            httpx.get(f"{coordinator.url}/health")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{coordinator.url.replace('https', 'http')}/health")
        assert coordinator.call("GET", "/sites/far").json()["name"] == "far"
    finally:
        coordinator.close()


@pytest.mark.parametrize("wrong", ["certificate", "key", "authority"])
def test_files_that_cannot_be_used_are_told_before_the_port_opens(
    wrong: str, tls_files: TLSFiles, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    files = replace(tls_files, **{wrong: broken})
    home = Home(tmp_path / "home")
    with listening("127.0.0.1", 0) as listener, home.claimed(), pytest.raises(InvalidError, match="PEM files"):
        serve(create_app(home), listener, tls=files)
