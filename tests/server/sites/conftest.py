"""A coordinator within the test's own process, and agents that are a few requests."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import URL

from fedward_core.cards import Contract, DatasetCard, Split
from fedward_server.api.app import create_app
from fedward_server.home import Home
from fedward_server.sites.versions import our_versions
from fedward_server.tls import TLSFiles


def public_key(curve: ec.EllipticCurve | None = None) -> str:
    key = ec.generate_private_key(curve or ec.SECP384R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass
class Hub:
    """A coordinator, spoken to by people and agents.

    Attributes:
        runner: The loop in which it lives; it moves on while a request is under way.
        client: Speaks to it.
        admin: The administrator's key.
        keeper: What stands in for the SuperLink's keeper.
    """

    runner: asyncio.Runner
    client: httpx.AsyncClient
    admin: str
    keeper: Any

    def call(self, method: str, path: str, *, key: str | None = None, **arguments: Any) -> httpx.Response:
        headers = arguments.pop("headers", {})
        if key != "":
            headers = {"Authorization": f"Bearer {self.admin if key is None else key}", **headers}
        return self.runner.run(self.client.request(method, f"/api/v1{path}", headers=headers, **arguments))

    def invite(self, site: str, **more: Any) -> str:
        answer = self.call("POST", "/sites/invitations", json={"site": site, **more})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    def enrol(self, token: str, **changes: Any) -> httpx.Response:
        body = {"token": token, "public_key": public_key(), "versions": our_versions().model_dump(), **changes}
        return self.call("POST", "/fleet/enrolments", key="", json=body)

    def site(self, name: str) -> str:
        """Invite and enrol a site, and give its key."""
        return str(self.enrol(self.invite(name)).json()["key"])

    def heartbeat(self, **changes: Any) -> dict[str, Any]:
        versions = our_versions().model_dump()
        return {"versions": versions, "free_disk_bytes": 10**12, "clock_s": 0.0, **changes}

    def beat(self, key: str, **changes: Any) -> Any:
        answer = self.call("POST", "/fleet/heartbeats", key=key, json=self.heartbeat(**changes))
        assert answer.status_code == 200, answer.text
        return answer.json()


def card(site: str, dataset: str = "chest") -> dict[str, Any]:
    made = DatasetCard(
        site=site,
        dataset=dataset,
        contract=Contract(classes=("a", "b")),
        num_images={Split.TRAIN: 7},
        num_patients={Split.TRAIN: 3},
        digest="d",
    )
    return made.model_dump(mode="json")


def open_hub(folder: Path, keeper: Any, **settings: Any) -> Iterator[Hub]:
    keys: list[str] = []
    app = create_app(Home(folder), tell_key=keys.append, keeper=keeper, **settings)
    lifespan = app.router.lifespan_context(app)
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub")
    with Home(folder).claimed(), asyncio.Runner() as runner:
        runner.run(lifespan.__aenter__())
        yield Hub(runner, client, keys[0], keeper)
        runner.run(client.aclose())
        runner.run(lifespan.__aexit__(None, None, None))


@pytest.fixture
def hub(tmp_path: Path, place: Path | URL, keeper: Any) -> Iterator[Hub]:
    yield from open_hub(tmp_path, keeper, database=place if isinstance(place, URL) else None)


@pytest.fixture
def hub_with_tls(tmp_path: Path, keeper: Any, tls_files: TLSFiles) -> Iterator[Hub]:
    """Its port has TLS elsewhere; what matters here is that nodes prove who they are."""
    yield from open_hub(tmp_path, keeper, tls=tls_files)


@pytest.fixture
def make_card() -> Any:
    return card
