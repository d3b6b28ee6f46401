"""Budgets of tokens, and their use."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("budget", sa.JSON))
    op.create_table(
        "token_usage",
        sa.Column("token", sa.String(64), primary_key=True),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("rows", sa.Float, nullable=False),
        sa.Column("bytes", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("token_usage")
    op.drop_column("tokens", "budget")
