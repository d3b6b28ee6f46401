"""Roles that organisations make for themselves, and groups of users."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "roles",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organisation", sa.String(128), sa.ForeignKey("organisations.id"), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("description", sa.String(4096), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("dataset_capabilities", sa.JSON, nullable=False),
        sa.Column("view_capabilities", sa.JSON, nullable=False),
        sa.Column("org_capabilities", sa.JSON, nullable=False),
        sa.UniqueConstraint("organisation", "name", name="roles_organisation_name"),
    )
    op.create_table(
        "user_groups",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("organisation", sa.String(128), sa.ForeignKey("organisations.id"), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("description", sa.String(4096), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.UniqueConstraint("organisation", "name", name="user_groups_organisation_name"),
    )
    op.create_table(
        "group_members",
        sa.Column("group_id", sa.String(64), sa.ForeignKey("user_groups.id"), primary_key=True),
        sa.Column("user_id", sa.String(64), sa.ForeignKey("users.id"), primary_key=True),
    )
    op.create_table(
        "group_roles",
        sa.Column("group_id", sa.String(64), sa.ForeignKey("user_groups.id"), primary_key=True),
        sa.Column("role", sa.String(64), primary_key=True),
    )


def downgrade() -> None:
    connection = op.get_bind()
    connection.execute(sa.text("UPDATE memberships SET role = 'none' WHERE role IN (SELECT id FROM roles)"))
    for table in ("group_roles", "group_members", "user_groups", "roles"):
        op.drop_table(table)
