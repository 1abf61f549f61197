"""API keys as they are spoken of."""

from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from fedward_core.config import Frozen
from fedward_core.spec import NAME


class Role(StrEnum):
    """What a key allows. Of people's roles, each may do all that those before it may; an agent speaks for its site."""

    READER = "reader"  # see studies, sites, runs and results
    RESEARCHER = "researcher"  # submit, stop, pause and resume runs, add frozen weights
    ADMIN = "admin"  # make studies and keys, invite and revoke sites, remove frozen weights
    AGENT = "agent"  # report one site and fetch frozen weights, and nothing else

    def includes(self, other: "Role") -> bool:
        """Whether this role may do what the other may."""
        if Role.AGENT in (self, other):
            return self is other
        order = list(Role)
        return order.index(self) >= order.index(other)


class CreateKeyRequest(Frozen):
    """A key to be made."""

    name: str = Field(pattern=NAME)
    role: Role

    @model_validator(mode="after")
    def _refuse_agents(self) -> Self:
        if self.role is Role.AGENT:
            raise ValueError("an agent gets its key when its site enrols: invite the site instead")
        return self


class ApiKey(Frozen):
    """A key, without what opens anything.

    Attributes:
        name: Its name.
        role: What it allows.
        site: The site that it speaks for, if it is an agent's.
        created_s: When it was made, in seconds since the epoch.
    """

    name: str
    role: Role
    site: str | None = None
    created_s: float


class NewKey(Frozen):
    """A key that was just made. It is shown this once and never again."""

    name: str
    role: Role
    key: str
