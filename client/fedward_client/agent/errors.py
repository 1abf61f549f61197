"""What an agent cannot do, said to the hospital's own people: these messages may name what lies in its home folder.

FedwardError
  AgentError         the agent cannot do its work
    PolicyError      the site's policy cannot be read; nothing is allowed until it can
    CoordinatorAwayError  the coordinator does not answer, or cannot at the moment: ask again
    RefusedError     the coordinator says no
      NotThereError  as it has no such thing
"""

from fedward_core.errors import FedwardError


class AgentError(FedwardError):
    """The agent cannot do its work."""


class PolicyError(AgentError):
    """The site's policy cannot be read; nothing is allowed until it can."""


class CoordinatorAwayError(AgentError):
    """The coordinator does not answer, or cannot at the moment: ask again."""


class RefusedError(AgentError):
    """The coordinator says no; asking again will not help."""


class NotThereError(RefusedError):
    """The coordinator has no such thing."""
