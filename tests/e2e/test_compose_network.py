"""The whole network of containers, built and run for real; FEDWARD_TEST_COMPOSE=1 says that an engine may be used."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.compose,
    pytest.mark.skipif(not os.environ.get("FEDWARD_TEST_COMPOSE"), reason="needs FEDWARD_TEST_COMPOSE=1 and an engine"),
]


@pytest.mark.parametrize("overlay", ["", "tls"])
def test_the_network_trains_and_leaves_nothing(overlay: str) -> None:
    made = subprocess.run(
        ["sh", "deploy/compose/run.sh"],
        cwd=ROOT,
        env={**os.environ, "OVERLAY": overlay},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr[-2000:]
    for site in ("north", "river", "hill"):
        assert site in made.stdout
    assert left_behind() == []


def left_behind() -> list[str]:
    """Containers, networks, volumes and images of the network."""
    ours = ("--filter", "label=com.docker.compose.project=fedward")
    listings = [
        ("container", "ls", "--all", *ours),
        ("network", "ls", *ours),
        ("volume", "ls", *ours),
        ("image", "ls", "fedward-coordinator"),
        ("image", "ls", "fedward-node"),
    ]
    return [line for listing in listings for line in lines("docker", *listing, "--quiet")]


def lines(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
