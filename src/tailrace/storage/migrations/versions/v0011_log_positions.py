"""How far the events of each shard of datasets are in their tables."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "log_positions",
        sa.Column("shard", sa.String(64), primary_key=True),
        sa.Column("positions", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("log_positions")
