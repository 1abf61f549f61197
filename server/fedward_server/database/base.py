"""The base of every table."""

from typing import Any, ClassVar

from sqlalchemy import Double
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """A table; each noun of the coordinator declares its own in its ``rows.py``."""

    # Seconds since the epoch need all 64 bits, whatever a database calls them.
    type_annotation_map: ClassVar[dict[Any, Any]] = {float: Double()}
