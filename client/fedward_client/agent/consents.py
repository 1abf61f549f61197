"""The runs that the site takes part in, each with the spec that it agreed to. A client app of any other run is refused.

<folder>/<run>.json     the proposal that was accepted
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fedward_core.atomic import replacing
from fedward_core.fleet_messages import Proposal
from fedward_core.packages import packages_named


class Consents:
    """The site's consents, in a folder.

    Args:
        folder: Made when the first consent is given.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def give(self, proposal: Proposal) -> None:
        """Agree to a run; its id must be a plain name."""
        with replacing(self._path(proposal.run)) as temporary:
            temporary.write_text(proposal.model_dump_json(), encoding="utf-8")

    def withdraw(self, run: str) -> None:
        """Agree no longer; to withdraw what was never given is fine."""
        self._path(run).unlink(missing_ok=True)

    def cover(self, run: str, spec_digest: str) -> bool:
        """Whether the site agreed to a run with this very spec. A damaged consent covers nothing."""
        proposal = _read(self._path(run))
        return proposal is not None and (proposal.run, proposal.spec_digest) == (run, spec_digest)

    def covers_packages(self, run: str, spec: Any) -> bool:
        """Whether a spec names parts of those packages only that the site agreed to for a run, as they were then.

        Args:
            run: The run's id.
            spec: The plain values of the spec that came. It may be another one than was agreed to, and nothing of what
                it names is imported.
        """
        proposal = _read(self._path(run))
        return proposal is not None and packages_named(spec) == proposal.packages

    def all(self) -> tuple[Proposal, ...]:
        """Every proposal that was accepted."""
        found = (_read(path) for path in sorted(self._folder.glob("*.json")))
        return tuple(proposal for proposal in found if proposal is not None)

    def _path(self, run: str) -> Path:
        return self._folder / f"{run}.json"


def _read(path: Path) -> Proposal | None:
    try:
        return Proposal.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
