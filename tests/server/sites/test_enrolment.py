"""Invitations open the coordinator once, for the site that they name."""

import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from waiting import wait_until

from fedward_core.errors import FedwardError
from fedward_server.flower.control import UsedKeyError
from fedward_server.sites.versions import our_versions


def test_a_token_makes_a_site_with_a_key_of_its_own(hub: Any) -> None:
    answer = hub.enrol(hub.invite("north"))
    assert answer.status_code == 201
    membership = answer.json()
    assert (membership["site"], membership["fleet"], membership["node_authentication"]) == ("north", ":80", False)
    assert hub.beat(membership["key"])["interval_s"] == 5.0
    assert [site["name"] for site in hub.call("GET", "/sites").json()] == ["north"]
    assert not hub.keeper.registered


def test_a_token_works_once(hub: Any) -> None:
    token = hub.invite("north")
    assert hub.enrol(token).status_code == 201
    answer = hub.enrol(token)
    assert answer.status_code == 403
    assert "used already" in answer.json()["error"]["message"]


def test_a_foreign_token_opens_nothing(hub: Any) -> None:
    hub.invite("north")
    answer = hub.enrol("fi_somebody-elses")
    assert answer.status_code == 403
    assert "knows no such token" in answer.json()["error"]["message"]


def test_an_expired_token_opens_nothing(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    token = hub.invite("north", valid_s=60)
    later = time.time() + 61
    monkeypatch.setattr("fedward_server.sites.invitations.time.time", lambda: later)
    answer = hub.enrol(token)
    assert answer.status_code == 403
    assert "has expired" in answer.json()["error"]["message"]


def test_a_newer_invitation_replaces_an_older_one(hub: Any) -> None:
    older, newer = hub.invite("north"), hub.invite("north")
    assert hub.enrol(older).status_code == 403
    assert hub.enrol(newer).status_code == 201
    assert hub.call("POST", "/sites/invitations", json={"site": "north"}).status_code == 409


def test_a_token_is_not_in_the_database(hub_with_tls: Any, tmp_path: Any) -> None:
    hub = hub_with_tls
    token = hub.invite("north")
    key = hub.enrol(token).json()["key"]
    content = b"".join(path.read_bytes() for path in tmp_path.glob("coordinator.db*"))
    assert b"north" in content
    assert token.encode() not in content
    assert key.encode() not in content


def test_another_minor_version_of_flower_is_refused_with_the_reason_and_the_token_kept(hub: Any) -> None:
    token = hub.invite("north")
    answer = hub.enrol(token, versions={"fedward": our_versions().fedward, "flower": "1.99.0"})
    assert answer.status_code == 409
    assert "1.99.0" in answer.json()["error"]["message"]
    assert our_versions().flower in answer.json()["error"]["message"]
    assert hub.enrol(token).status_code == 201


def test_another_patch_of_flower_fits(hub: Any) -> None:
    major, minor, _ = our_versions().flower.split(".")
    versions = {"fedward": our_versions().fedward, "flower": f"{major}.{minor}.99"}
    assert hub.enrol(hub.invite("north"), versions=versions).status_code == 201


def rsa_key() -> str:
    key = rsa.generate_private_key(65537, 2048).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def other_curve() -> str:
    key = ec.generate_private_key(ec.SECP256K1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("key", ["", "no key", rsa_key(), other_curve()], ids=["empty", "text", "rsa", "curve"])
def test_a_key_that_flower_would_not_take_is_refused(key: str, hub: Any) -> None:
    token = hub.invite("north")
    assert hub.enrol(token, public_key=key).status_code == 422
    assert hub.enrol(token).status_code == 201


@pytest.mark.parametrize("site", ["", "../up", "a b", "x" * 65, "-x"])
def test_a_name_that_cannot_name_a_folder_is_refused(site: str, hub: Any) -> None:
    assert hub.call("POST", "/sites/invitations", json={"site": site}).status_code == 422


def test_with_tls_the_public_key_is_registered_for_flower(hub_with_tls: Any) -> None:
    hub = hub_with_tls
    membership = hub.enrol(hub.invite("north")).json()
    assert membership["node_authentication"]
    assert hub.keeper.registered.keys() == {"north"}


def test_a_key_that_was_used_before_is_refused_with_what_to_do_and_costs_no_token(
    hub_with_tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(*_: object) -> str:
        raise UsedKeyError("this key was used before: move key.pem out of the agent's home folder")

    hub, token = hub_with_tls, hub_with_tls.invite("north")
    with monkeypatch.context() as patch:
        patch.setattr(hub.keeper, "register", used)
        answer = hub.enrol(token)
    assert (answer.status_code, "Retry-After" in answer.headers) == (409, False)
    assert "move key.pem" in answer.json()["error"]["message"]
    assert hub.enrol(token).status_code == 201


def test_a_revoked_site_is_dead_at_once_and_can_be_invited_again(hub_with_tls: Any) -> None:
    hub = hub_with_tls
    key = hub.site("north")
    hub.beat(key)
    assert hub.call("DELETE", "/sites/north").status_code == 204
    assert hub.call("POST", "/fleet/heartbeats", key=key, json={}).status_code == 401
    assert hub.keeper.forgotten == ["north"]
    assert hub.call("GET", "/sites/north").status_code == 404
    assert hub.call("DELETE", "/sites/north").status_code == 404
    assert hub.beat(hub.site("north"))


def test_a_site_that_is_revoked_while_the_superlink_is_away_is_shut_out_once_it_is_back(
    hub_with_tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> None:
        raise FedwardError("the SuperLink does not answer")

    hub = hub_with_tls
    monkeypatch.setattr("fedward_server.sites.fleet.LOOK_EVERY_S", 0.01)
    for site in ("north", "hill"):
        hub.site(site)
    with monkeypatch.context() as patch:
        patch.setattr(hub.keeper, "forget", away)
        assert hub.call("DELETE", "/sites/north").status_code == 204
        hub.call("GET", "/health")
    assert "north" in hub.keeper.registered
    wait_until(lambda: hub.call("GET", "/health") and "north" not in hub.keeper.registered)
    assert hub.keeper.registered.keys() == {"hill"}


def test_two_with_one_token_make_one_site(hub_with_tls: Any) -> None:
    hub = hub_with_tls
    token = hub.invite("north")
    assert sorted(hub.enrol(token).status_code for _ in range(2)) == [201, 403]
    assert len(hub.keeper.registered) == 1
