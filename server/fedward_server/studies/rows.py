"""The table of studies."""

from sqlalchemy import JSON
from sqlalchemy.orm import Mapped, mapped_column

from fedward_server.database.base import Base


class StudyRow(Base):
    """One study. Its data folder is for the coordinator alone and is never told; one of enrolled sites has none."""

    __tablename__ = "studies"

    name: Mapped[str] = mapped_column(primary_key=True)
    data: Mapped[str | None]
    sites: Mapped[list[str]] = mapped_column(JSON)
    enrolled: Mapped[bool] = mapped_column(default=False)
    classes: Mapped[list[str]] = mapped_column(JSON)
    created_s: Mapped[float]
