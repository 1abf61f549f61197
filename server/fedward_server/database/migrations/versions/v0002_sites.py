"""Enrolled sites, their invitations and answers, and the runs and studies that they take part in."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make and widen the tables; the sites of every run that is there are simulated."""
    op.add_column("api_keys", sa.Column("site", sa.String, nullable=True))
    op.create_index("ix_api_keys_site", "api_keys", ["site"], unique=True)
    op.add_column("studies", sa.Column("enrolled", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("runs", sa.Column("cohort", sa.JSON, nullable=True))
    op.add_column("runs", sa.Column("app", sa.String, nullable=False, server_default=""))
    op.add_column("runs", sa.Column("recruits_until_s", sa.Double, nullable=False, server_default="0"))
    op.execute("UPDATE runs SET cohort = sites")
    _create_sites()
    op.create_table(
        "invitations",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("expires_s", sa.Double, nullable=False),
        sa.Column("used_s", sa.Double, nullable=True),
    )
    op.create_table(
        "answers",
        sa.Column("run", sa.String, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("site", sa.String, primary_key=True),
        sa.Column("takes_part", sa.Boolean, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("answered_s", sa.Double, nullable=False),
    )


def _create_sites() -> None:
    op.create_table(
        "sites",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("public_key", sa.String, nullable=False),
        sa.Column("node", sa.String, nullable=False),
        sa.Column("enrolled_s", sa.Double, nullable=False),
        sa.Column("fedward", sa.String, nullable=False),
        sa.Column("flower", sa.String, nullable=False),
        sa.Column("last_seen_s", sa.Double, nullable=True),
        sa.Column("clock_offset_s", sa.Double, nullable=True),
        sa.Column("free_disk_bytes", sa.BigInteger, nullable=True),
        sa.Column("gpus", sa.JSON, nullable=False),
        sa.Column("approved", sa.JSON, nullable=False),
        sa.Column("runs", sa.JSON, nullable=False),
        sa.Column("cards_digest", sa.String, nullable=False),
        sa.Column("cards", sa.JSON, nullable=False),
    )
