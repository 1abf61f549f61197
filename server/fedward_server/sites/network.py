"""What the scheduler needs of enrolled sites: the SuperLink that they connect to, and what they are asked to run."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fedward_core.registry import load
from fedward_server.sites.keeper import Keeper

# Decided here: an agent answers within two heartbeats, and one that was restarted needs half a minute to be back.
RECRUIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Network:
    """The network of enrolled sites. Its calls may take seconds.

    Attributes:
        keeper: Keeps the SuperLink alive.
        recruit_s: How long sites may take to answer a proposal.
    """

    keeper: Keeper
    recruit_s: float = RECRUIT_S

    def superlink(self) -> tuple[str, Path]:
        """The address of the SuperLink, which is started if need be, and the folder with what its clients need."""
        return self.keeper.ensure(), self.keeper.keys

    def app(self) -> str:
        """The digest of the app bundle that sites are asked to run."""
        return _app()


@cache
def _app() -> str:
    # Named, as importing it imports Flower, which a coordinator that only simulates does without.
    digest: str = load("fedward_server.flower.bundle:build_bundle")().digest
    return digest
