"""Updates that arrived, as files of the round.

They wait here for their turn in the order of the sites, and a new attempt at the round takes them up instead of asking
the sites again.
"""

import shutil
from pathlib import Path

from fedward_core.arrays import read_arrays, under, write_arrays
from fedward_core.errors import CheckpointError
from fedward_core.order import Reply
from fedward_server.rounds.exchange import Answer


class Inbox:
    """The answers of one round of one stage, by site.

    Args:
        folder: The stage's folder.
        round_: The round.
        parent: The digest of the weights that the round started from; answers to others are not seen.
    """

    def __init__(self, folder: Path, round_: int, parent: str) -> None:
        self._root = folder / "inbox"
        self._folder = self._root / f"round-{round_:05d}-{parent[:16]}"

    def keep(self, answer: Answer) -> None:
        """Write an answer with a reply.

        Raises:
            CheckpointError: The disk is full or not writable.
        """
        assert answer.reply is not None
        arrays = {f"{group}/{name}": a for group, arrays in answer.groups.items() for name, a in arrays.items()}
        facts = {"reply": answer.reply.model_dump(mode="json"), "groups": sorted(answer.groups)}
        write_arrays(self._path(answer.site), arrays, facts, durable=False)  # a lost one is asked for again

    def sites(self) -> tuple[str, ...]:
        """The sites whose answers are here and whole."""
        return tuple(sorted(path.stem for path in self._folder.glob("*.safetensors") if self._is_whole(path)))

    def read(self, site: str) -> Answer:
        """The answer of a site."""
        arrays, facts = read_arrays(self._path(site))
        groups = {group: under(f"{group}/", arrays) for group in facts["groups"]}
        return Answer(site=site, reply=Reply.model_validate(facts["reply"]), groups=groups)

    def clear(self) -> None:
        """Forget every answer, of this round and of older ones."""
        shutil.rmtree(self._root, ignore_errors=True)

    def _path(self, site: str) -> Path:
        return self._folder / f"{site}.safetensors"

    def _is_whole(self, path: Path) -> bool:
        try:
            read_arrays(path)
        except CheckpointError:
            return False
        return True
