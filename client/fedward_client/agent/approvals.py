"""The code that may run at the site: digests, each signed with the site's key when its steward approved it.

A digest is that of an app bundle, or of an installed package that offers methods of its own.
A file whose content was changed by hand, or that came from another site, approves nothing.
"""

import json
import time
from pathlib import Path

from pydantic import Field, ValidationError

from fedward_client.agent.errors import PolicyError
from fedward_client.agent.key import SiteKey
from fedward_core.atomic import replacing
from fedward_core.config import SHA256, Frozen


class Approval(Frozen):
    """One approved app bundle or package.

    Attributes:
        app: The bundle's or the package's SHA-256 in hexadecimal.
        simulated: Made for a demonstration; it has no force where TLS is on.
        approved_s: When, in seconds since the epoch.
        signature: By the site's key, over the rest.
    """

    app: str = Field(pattern=SHA256)
    simulated: bool
    approved_s: float
    signature: str = ""

    @property
    def message(self) -> bytes:
        """What is signed."""
        return json.dumps(self.model_dump(exclude={"signature"}), sort_keys=True).encode()


class Approvals:
    """The approvals of a site, in a file.

    Args:
        path: The file; without it, nothing is approved.
        key: The site's key.
    """

    def __init__(self, path: Path, key: SiteKey) -> None:
        self._path = path
        self._key = key

    def in_force(self, *, tls: bool) -> frozenset[str]:
        """Digests of the bundles and packages that may run.

        Args:
            tls: Whether the coordinator is reached by TLS, and so is no demonstration.

        Raises:
            PolicyError: The file cannot be read, or an approval is not signed by the site's key.
        """
        return frozenset(approval.app for approval in self.all() if not (tls and approval.simulated))

    def all(self) -> tuple[Approval, ...]:
        """Every approval.

        Raises:
            PolicyError: The file cannot be read, or an approval is not signed by the site's key.
        """
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
            approvals = tuple(Approval.model_validate(value) for value in values)
        except FileNotFoundError:
            return ()
        except (OSError, TypeError, ValueError, ValidationError):
            raise PolicyError("the site's approvals cannot be read: remove approvals.json and approve anew") from None
        if not all(self._key.has_signed(approval.message, approval.signature) for approval in approvals):
            raise PolicyError("an approval is not signed by this site's key: remove approvals.json and approve anew")
        return approvals

    def approve(self, app: str, *, simulated: bool) -> None:
        """Let a bundle or a package run at the site from now on."""
        approval = Approval(app=app, simulated=simulated, approved_s=time.time())
        signed = approval.model_copy(update={"signature": self._key.sign(approval.message)})
        self._write((*self._without(app), signed))

    def withdraw(self, app: str) -> None:
        """Let it run no longer; to withdraw what was never approved is fine."""
        self._write(self._without(app))

    def _without(self, app: str) -> tuple[Approval, ...]:
        return tuple(approval for approval in self.all() if approval.app != app)

    def _write(self, approvals: tuple[Approval, ...]) -> None:
        values = [approval.model_dump() for approval in approvals]
        with replacing(self._path) as temporary:
            temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
