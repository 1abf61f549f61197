"""Finished stages on a shelf, so that runs that begin alike compute their beginning once.

A stage is known by everything that its weights depend on: the spec as far as this stage, and the data of the sites.
"""

import hashlib
import json
import shutil
from pathlib import Path

from fedward_core.arrays import read_arrays
from fedward_core.atomic import replacing
from fedward_core.cards import DatasetCard
from fedward_core.engine import Job
from fedward_core.errors import CheckpointError


class StageShelf:
    """The shelf of a job; without one, nothing is taken or put.

    Args:
        job: Its ``reuse`` is the folder.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    def take(self, index: int, cards: tuple[DatasetCard, ...], final: Path) -> bool:
        """Copy a finished stage to ``final`` if it lies whole on the shelf; never the last, which sites evaluate."""
        source, is_last = self._path(index, cards), index == len(self._job.spec.stages) - 1
        if source is None or is_last or not _is_whole(source):
            return False
        _copy(source, final)
        return True

    def put(self, index: int, cards: tuple[DatasetCard, ...], final: Path) -> None:
        """Put a finished stage on the shelf: another run may begin like this one."""
        target = self._path(index, cards)
        if target is not None and not target.exists():
            _copy(final, target)

    def _path(self, index: int, cards: tuple[DatasetCard, ...]) -> Path | None:
        if self._job.reuse is None:
            return None
        depends_on = {
            "work": self._job.spec.beginning(index + 1).digest(),
            "data": [(card.site, card.digest) for card in cards],
        }
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
        return self._job.reuse / f"{key[:32]}.safetensors"


def _is_whole(source: Path) -> bool:
    """Whether a stage lies there; a damaged one is taken off, so that it is computed once more and put there again."""
    if not source.exists():
        return False
    try:
        read_arrays(source)
    except CheckpointError:
        source.unlink(missing_ok=True)
        return False
    return True


def _copy(source: Path, target: Path) -> None:
    with replacing(target) as temporary:
        shutil.copyfile(source, temporary)
