"""The default dataset of a token: of what it sends where nothing else names a dataset."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("tokens", sa.Column("default_dataset", sa.String(128), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("tokens", "default_dataset")
