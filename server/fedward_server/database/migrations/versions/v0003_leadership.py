"""Which coordinator acts on the database."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table; it is empty until a coordinator acts."""
    op.create_table(
        "leadership",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("place", sa.String, nullable=False),
        sa.Column("renewed_s", sa.Double, nullable=False),
    )
