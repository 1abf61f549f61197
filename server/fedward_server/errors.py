"""What the coordinator refuses, each with the status that HTTP has for it.

FedwardError
  RefusedError           400  what was asked cannot be understood
    UnauthorizedError    401  no key, or a wrong one
    ForbiddenError       403  a key whose role does not allow it, or a token that opens nothing
    NotFoundError        404  there is no such thing
    ConflictError        409  it does not fit what is there
    TooLargeError        413  more than is taken at once
    InvalidError         422  it was understood and is wrong
    UnavailableError     503  it cannot be done at the moment: ask again
      DatabaseAwayError  503  because the database does not answer, or has no room
"""

from typing import ClassVar

from fedward_core.errors import FedwardError


class RefusedError(FedwardError):
    """A request that is refused; the message says why and what to do.

    Attributes:
        status: The status of the answer.
        code: A word for programs.
    """

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"


class UnauthorizedError(RefusedError):
    """No key, or a wrong one."""

    status, code = 401, "unauthorized"


class ForbiddenError(RefusedError):
    """A key whose role does not allow it, or a token that opens nothing."""

    status, code = 403, "forbidden"


class NotFoundError(RefusedError):
    """There is no such thing."""

    status, code = 404, "not_found"


class ConflictError(RefusedError):
    """It does not fit what is there."""

    status, code = 409, "conflict"


class TooLargeError(RefusedError):
    """More than is taken at once."""

    status, code = 413, "too_large"


class InvalidError(RefusedError):
    """It was understood and is wrong."""

    status, code = 422, "invalid"


class UnavailableError(RefusedError):
    """It cannot be done at the moment: ask again."""

    status, code = 503, "unavailable"


class DatabaseAwayError(UnavailableError):
    """The database does not answer, or has no room."""
