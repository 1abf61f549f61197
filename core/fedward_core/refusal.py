"""What a site answers when it has no result: a code and its name, never a text of its own.

It travels in a Flower error, whose code is ``REFUSED`` and whose reason is this as JSON.
"""

from enum import StrEnum

from fedward_core.config import Frozen

REFUSED = 100  # Flower leaves error codes from 100 on to applications


class Ground(StrEnum):
    """Why a site has not done what it was asked."""

    UNAPPROVED_APP = "unapproved_app"  # the site has not approved this app's digest
    LOWER_ATTEMPT = "lower_attempt"  # it has seen a later attempt of this run
    RUN_NAME = "run_name"  # the run's id cannot name a folder
    NO_CONSENT = "no_consent"  # it has not agreed to this run with this spec
    APP_FAILED = "app_failed"  # the app met an error that is none of the run's
    APP_ENDED = "app_ended"  # the site has ended the app, because the run is over or paused, or by its own will
    APP_DIED = "app_died"  # the app's process was killed or crashed


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
        return f"the site {_SENTENCES[self.ground]}"


_SENTENCES = {
    Ground.UNAPPROVED_APP: "refused: it has not approved this app; give its steward the app's digest to approve",
    Ground.LOWER_ATTEMPT: "refused: it has seen a later attempt of this run; stop the older one",
    Ground.RUN_NAME: "refused: a run's id is made of letters, digits, '.', '_' and '-', the first a letter or digit",
    Ground.NO_CONSENT: "refused: it has not agreed to this run with this spec; its policy says why",
    Ground.APP_FAILED: "could not work on its order; its client app's log says why",
    Ground.APP_ENDED: "has ended its work for this run",
    Ground.APP_DIED: "did not answer: its client app died, perhaps for lack of memory",
}
