"""The datasets that the site offers: where the programs find them, and the cards that tell of them in counts.

<folder>/<dataset>/<site>        a link to the dataset's folder
<folder>/<dataset>/<site>.npz    or to its file

Cards are made in a short process, because they read every image: the agent itself stays small and holds none.
"""

import hashlib
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from fedward_client.agent.errors import AgentError
from fedward_client.agent.policy import Offer
from fedward_client.agent.stamps import Stamps
from fedward_core.cards import DatasetCard
from fedward_core.fleet_messages import Cards
from fedward_core.processes.launching import end_child, start_child

TIMEOUT_S = 3600.0  # decided here: a million images on a slow disk

log = logging.getLogger(__name__)


class Catalogue:
    """One site's datasets.

    Args:
        folder: Where the links lie; it is the catalogue's own.
        site: The site.
        log: Where the process that makes cards says what went wrong; it may name files.
    """

    def __init__(self, folder: Path, site: str, *, log: Path) -> None:
        self._folder = folder
        self._site = site
        self._log = log
        self._stamps = Stamps()
        self._state: object = None
        self.cards = Cards(cards=(), digest="")

    def refresh(self, offers: Mapping[str, Offer]) -> None:
        """Link the datasets and make their cards anew, if anything about them has changed since the last time.

        Files that change beside a table that does not are noticed within minutes: see :class:`Stamps`.
        A dataset that cannot be used has no card; the reason stands in the log.
        """
        state = {name: (offer, self._stamps.of(offer.path)) for name, offer in offers.items()}
        if state == self._state:
            return
        self._link(offers)
        self.cards = self._made(offers)
        self._state = state

    def _link(self, offers: Mapping[str, Offer]) -> None:
        """Links that stand stay as they are: a run or a job may be reading through them at this moment."""
        wanted = {self._place(name, offer): offer.path.absolute() for name, offer in offers.items()}
        for old in self._folder.glob("*"):
            if old.name not in offers or not old.is_dir():
                _remove(old)
        for old in self._folder.glob("*/*"):
            if not old.is_symlink() or old.readlink() != wanted.get(old):
                _remove(old)
        for place, target in wanted.items():
            if not place.is_symlink():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(target)

    def _place(self, name: str, offer: Offer) -> Path:
        suffix = ".npz" if offer.path.suffix == ".npz" else ""
        return self._folder / name / f"{self._site}{suffix}"

    def _made(self, offers: Mapping[str, Offer]) -> Cards:
        with tempfile.TemporaryDirectory(prefix="fedward-cards-") as name:
            folder = Path(name)
            datasets = [offer.described_as(name).model_dump(mode="json") for name, offer in offers.items()]
            request = {"site": self._site, "data": str(self._folder.absolute()), "datasets": datasets}
            (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
            _run([sys.executable, "-m", "fedward_client.agent.card_process", str(folder)], self._log)
            values = json.loads((folder / "cards.json").read_text(encoding="utf-8"))
        cards = tuple(DatasetCard.model_validate(value) for value in values)
        for missing in sorted(offers.keys() - {card.dataset for card in cards}):
            log.warning("dataset '%s' cannot be used, and is not offered: cards.log says why", missing)
        return Cards(cards=cards, digest=_digest(cards))


def _remove(entry: Path) -> None:
    """Remove a link, or whatever else lies in its place; what links lead to stays."""
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def _digest(cards: tuple[DatasetCard, ...]) -> str:
    return hashlib.sha256("\n".join(card.model_dump_json() for card in cards).encode()).hexdigest()


def _run(command: list[str], log: Path) -> None:
    child = start_child(command, log=log)
    try:
        code = child.wait(TIMEOUT_S)
    finally:
        end_child(child)
    if code != 0:
        raise AgentError("the cards of the site's datasets could not be made: cards.log says why")
