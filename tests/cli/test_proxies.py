"""A proxy in the environment is no way to this machine."""

import pytest

from fedward_cli.network.proxies import spare_this_machine

HERE = "127.0.0.1,localhost,::1"


@pytest.mark.parametrize(
    ("given", "spared"),
    [
        ({}, None),
        ({"NO_PROXY": "ward.example"}, "ward.example"),
        ({"http_proxy": "http://proxy:3128"}, HERE),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "a.example, 127.0.0.1"}, f"a.example,{HERE}"),
        ({"ALL_PROXY": "http://proxy:3128", "no_proxy": "a.example", "NO_PROXY": "b.example"}, f"a.example,{HERE}"),
    ],
)
def test_this_machine_is_spared_beside_what_is_spared_already(given: dict[str, str], spared: str | None) -> None:
    environment = dict(given)
    spare_this_machine(environment)
    assert environment.get("NO_PROXY") == spared
    if {"http_proxy", "HTTPS_PROXY", "ALL_PROXY"} & set(given):
        assert environment["no_proxy"] == spared


def test_where_no_proxy_is_asked_for_anything_that_stays() -> None:
    environment = {"http_proxy": "http://proxy:3128", "no_proxy": "*"}
    spare_this_machine(environment)
    assert environment == {"http_proxy": "http://proxy:3128", "no_proxy": "*"}
