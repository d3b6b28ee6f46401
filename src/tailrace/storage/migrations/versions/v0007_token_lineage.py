"""The lineage of a token: the first of those that were regenerated one from the other."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("lineage", sa.String(64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("tokens", "lineage")
