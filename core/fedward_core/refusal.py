"""What a site's agent answers in an app's stead: a code and a site, never a text of its own.

It travels in a Flower error, whose code is ``REFUSED`` and whose reason is this as JSON.
"""

from enum import StrEnum

from fedward_core.config import Frozen

REFUSED = 100  # Flower leaves error codes from 100 on to applications


class Ground(StrEnum):
    """Why a site does not do what it was asked."""

    UNAPPROVED_APP = "unapproved_app"  # the site has not approved this app's digest
    LOWER_ATTEMPT = "lower_attempt"  # it has seen a later attempt of this run
    RUN_NAME = "run_name"  # the run's id cannot name a folder


class Refusal(Frozen):
    """One refusal.

    Attributes:
        site: Who refuses.
        ground: Why.
    """

    site: str
    ground: Ground

    def sentence(self) -> str:
        """The refusal in words, for an event of the run."""
        return f"the site refused: {_SENTENCES[self.ground]}"


_SENTENCES = {
    Ground.UNAPPROVED_APP: "it has not approved this app; give its steward the app's digest to approve",
    Ground.LOWER_ATTEMPT: "it has seen a later attempt of this run; stop the older one",
    Ground.RUN_NAME: "a run's id is made of letters, digits, '.', '_' and '-', and begins with a letter or digit",
}
