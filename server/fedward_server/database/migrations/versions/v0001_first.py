"""Keys, studies, runs and events. Once released, a migration is never edited."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "api_keys",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("digest", sa.String, nullable=False, unique=True),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
    )
    op.create_table(
        "studies",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("data", sa.String, nullable=True),
        sa.Column("sites", sa.JSON, nullable=False),
        sa.Column("classes", sa.JSON, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
    )
    _create_runs()
    op.create_table(
        "events",
        sa.Column("run", sa.String, sa.ForeignKey("runs.id"), primary_key=True),
        sa.Column("sequence", sa.Integer, primary_key=True),
        sa.Column("event", sa.JSON, nullable=False),
    )


def _create_runs() -> None:
    op.create_table(
        "runs",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("study", sa.String, sa.ForeignKey("studies.name"), nullable=False),
        sa.Column("idempotency_key", sa.String, nullable=True, unique=True),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("spec_digest", sa.String, nullable=False),
        sa.Column("sites", sa.JSON, nullable=False),
        sa.Column("engine", sa.String, nullable=False),
        sa.Column("workers", sa.Integer, nullable=False),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("handle", sa.JSON, nullable=True),
        sa.Column("num_events", sa.Integer, nullable=False),
        sa.Column("bytes_read", sa.Integer, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("moved_s", sa.Double, nullable=False),
        sa.Column("due_s", sa.Double, nullable=False),
        sa.Column("lease_token", sa.String, nullable=True),
        sa.Column("lease_expires_s", sa.Double, nullable=False),
    )
