"""A whole run over a network of processes whose client apps are another user's, which only root can arrange."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedward_cli.network import local_network as network_module
from fedward_cli.network.local_network import STUDY, Network, network
from fedward_cli.network.run_events import follow_to_the_end
from fedward_cli.network.sites import Site, sites_of
from fedward_client.agent.errors import AgentError
from fedward_client.agent.user import check_user
from fedward_core.arrays import digest, read_arrays
from fedward_core.cards import DataKind
from fedward_core.engine import Job
from fedward_core.spec import Spec
from fedward_models.data import generate, sites_in
from fedward_server.engines.inline import InlineEngine

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can change to another user"),
]

USER = "nobody"
NETWORK = {"backbone": {"name": "small_cnn", "widths": [4, 8]}, "method": "supervised", "personalise": "fedbn"}
SPEC = Spec.parse(
    {
        "name": "tiny",
        "cohort": {"min_sites": 2},
        "dataset": {"name": "simulated", "image_px": 16},
        "evaluate": {"every": 2, "bootstrap": 10},
        "stages": [{"name": "only", "rounds": 2, "local": {"batch_size": 8}, **NETWORK}],
    }
)


class AnotherUsersNetwork(Network):
    """A network whose sites run client apps as another user."""

    def enrol(self, site: Site, dataset: str, kind: DataKind) -> None:
        super().enrol(site, dataset, kind)
        with self._agent_home(site.name).policy.open("a", encoding="utf-8") as policy:
            policy.write(f"run_as: {USER}\n")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can pass through, as pytest's own cannot be."""
    try:
        check_user(USER)
    except AgentError as error:
        pytest.skip(str(error))
    made = Path(tempfile.mkdtemp(prefix="fedward-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


def owners(word: str, home: Path) -> set[int]:
    """Whose the processes of a home folder are that have a word in their command line."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if word.encode() in command and str(home).encode() in command + environment:
            found.add(process.stat().st_uid)
    return found


def can_read(path: Path, user: pwd.struct_passwd) -> bool:
    done = subprocess.run(
        ["/bin/cat", path], user=user.pw_uid, group=user.pw_gid, extra_groups=(), capture_output=True, check=False
    )
    return done.returncode == 0


def weights(run: Path) -> str:
    return digest(read_arrays(run / "stages" / "only" / "final.safetensors")[0])


def test_a_run_whose_apps_are_another_users_gives_the_same_weights_and_shows_that_user_no_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_module, "Network", AnotherUsersNetwork)
    user, data, home = pwd.getpwnam(USER), folder / "data", folder / "network"
    generate(data, sites=2, images_per_site=20, image_px=16, seed=1)
    agents = home / "agents"
    with network(home, sites_of(data, sites_in(data)), dataset="simulated") as running:
        running.coordinator.post("/runs", {"study": STUDY, "spec": SPEC.model_dump(mode="json"), "run": "tiny"})
        follow_to_the_end(running.coordinator, "tiny")
        assert owners("fedward_client.flower.warm_helper", agents) == {user.pw_uid}  # it forks the apps
        assert owners("fedward_client.flower.supernode", agents) == {0}
    for agent in agents.iterdir():
        private = list((agent / "private" / "tiny").rglob("*"))
        assert len(private) > 2
        assert {path.stat().st_uid for path in private} == {user.pw_uid}
        assert can_read(agent / "consents" / "tiny.json", user)
        for secret in ("key.pem", "membership.json"):
            assert (agent / secret).exists()
            assert not can_read(agent / secret, user)
    alone = Job(spec=SPEC, run="tiny", sites=sites_in(data), data=data, out=folder / "alone")
    InlineEngine().run(alone, lambda event: None)
    assert weights(home / "coordinator" / "runs" / "tiny") == weights(folder / "alone")
