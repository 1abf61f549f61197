"""The table of API keys. A key itself is never stored."""

from sqlalchemy.orm import Mapped, mapped_column

from fedward_server.database.base import Base


class ApiKeyRow(Base):
    """One key, known by the SHA-256 of it; an agent's key belongs to one site, and a site has one."""

    __tablename__ = "api_keys"

    name: Mapped[str] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str]
    site: Mapped[str | None] = mapped_column(index=True, unique=True)
    created_s: Mapped[float]
