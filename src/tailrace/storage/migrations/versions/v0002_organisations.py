"""Organisations, and users who belong to several, each with a role of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

FIRST = "tailrace"
BEGAN = "1970-01-01T00:00:00.000000Z"  # of the first organisation, in a store without users


def upgrade() -> None:
    organisations = op.create_table(
        "organisations",
        sa.Column("id", sa.String(128), primary_key=True),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
    )
    op.create_table(
        "memberships",
        sa.Column("user_id", sa.String(64), sa.ForeignKey("users.id"), primary_key=True),
        sa.Column("organisation", sa.String(128), sa.ForeignKey("organisations.id"), primary_key=True),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
    )
    connection = op.get_bind()
    began = connection.scalar(sa.text("SELECT min(created_at) FROM users")) or BEGAN
    op.bulk_insert(organisations, [{"id": FIRST, "name": "Tailrace", "created_at": began}])
    connection.execute(
        sa.text(
            "INSERT INTO organisations (id, name, created_at) "
            "SELECT organisation, organisation, min(created_at) FROM users WHERE organisation <> :first "
            "GROUP BY organisation"
        ),
        {"first": FIRST},
    )
    connection.execute(
        sa.text(
            "INSERT INTO memberships (user_id, organisation, role, created_at) "
            "SELECT id, organisation, role, created_at FROM users"
        )
    )
    op.add_column("tokens", sa.Column("organisation", sa.String(128)))
    op.add_column("keys", sa.Column("organisation", sa.String(128), nullable=False, server_default=FIRST))
    of_its_user = "(SELECT organisation FROM users WHERE users.id = {table}.user_id)"
    connection.execute(
        sa.text(f"UPDATE tokens SET organisation = {of_its_user.format(table='tokens')} WHERE kind <> 'personal'")
    )
    connection.execute(sa.text(f"UPDATE keys SET organisation = {of_its_user.format(table='keys')}"))
    op.drop_column("users", "organisation")
    op.drop_column("users", "role")


def downgrade() -> None:
    op.add_column("users", sa.Column("organisation", sa.String(128), nullable=False, server_default=FIRST))
    op.add_column("users", sa.Column("role", sa.String(32), nullable=False, server_default="none"))
    connection = op.get_bind()
    for column in ("organisation", "role"):
        connection.execute(
            sa.text(
                f"UPDATE users SET {column} = coalesce((SELECT m.{column} FROM memberships m "
                "WHERE m.user_id = users.id ORDER BY m.created_at, m.organisation LIMIT 1), "
                f"users.{column})"
            )
        )
    op.drop_column("tokens", "organisation")
    op.drop_column("keys", "organisation")
    op.drop_table("memberships")
    op.drop_table("organisations")
