"""API keys as they are spoken of."""

from enum import StrEnum

from pydantic import Field

from fedward_core.config import Frozen
from fedward_core.spec import NAME


class Role(StrEnum):
    """What a key allows; each role may do all that those before it may."""

    READER = "reader"  # see studies, runs and results
    RESEARCHER = "researcher"  # submit and stop runs
    ADMIN = "admin"  # make studies and keys

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


class CreateKeyRequest(Frozen):
    """A key to be made."""

    name: str = Field(pattern=NAME)
    role: Role


class ApiKey(Frozen):
    """A key, without what opens anything."""

    name: str
    role: Role
    created_s: float


class NewKey(Frozen):
    """A key that was just made. It is shown this once and never again."""

    name: str
    role: Role
    key: str
