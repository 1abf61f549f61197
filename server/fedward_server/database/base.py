"""The base of every table."""

from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """A table; each noun of the coordinator declares its own in its ``rows.py``."""
