"""Documents, fields, saved queries, monitors, which were in a file of their own; and which such files were imported."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer, "sqlite")  # the type that SQLite counts up by itself


def upgrade() -> None:
    op.execute("ALTER TABLE keys RENAME COLUMN dialect TO protocol")
    _create_documents()
    _create_fields()
    _create_query_history()
    _create_monitors()
    op.create_table(
        "imports",
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("created_at", sa.String(32), nullable=False),
    )


def _create_documents() -> None:
    op.create_table(
        "documents",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("organisation", sa.String(128), nullable=False, index=True),
        sa.Column("area", sa.String(32), nullable=False),
        sa.Column("id", sa.String(128), nullable=False),
        sa.Column("who", sa.String(64), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("updated_at", sa.String(32), nullable=False),
        sa.Column("updated_by", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.UniqueConstraint("organisation", "area", "id", name="documents_organisation_area_id"),
    )


def _create_fields() -> None:
    for table in ("map_fields", "former_map_fields"):
        op.create_table(
            table,
            sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
            sa.Column("dataset", sa.String(128), nullable=False, index=True),
            sa.Column("name", sa.Text, nullable=False),
        )
    op.create_table(
        "field_notes",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("dataset", sa.String(128), nullable=False, index=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("hidden", sa.Boolean, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
    )
    op.create_table(
        "virtual_fields",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("dataset", sa.String(128), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("expression", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.UniqueConstraint("dataset", "name", name="virtual_fields_dataset_name"),
    )


def _create_query_history() -> None:
    op.create_table(
        "query_history",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(64), nullable=False, unique=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("dataset", sa.Text, nullable=False),
        sa.Column("who", sa.String(64), nullable=False, index=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("query", sa.Text, nullable=False),
    )


def _create_monitors() -> None:
    op.create_table(
        "monitor_runs",
        sa.Column("monitor", sa.String(128), primary_key=True),
        sa.Column("organisation", sa.String(128), nullable=False),
        sa.Column("next_ns", sa.BigInteger, nullable=False),
        sa.Column("last_ns", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
    )
    op.create_table(
        "monitor_history",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("monitor", sa.String(128), nullable=False, index=True),
        sa.Column("at_ns", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("check_id", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_table(
        "monitor_outbox",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("monitor", sa.String(128), nullable=False, index=True),
        sa.Column("organisation", sa.String(128), nullable=False),
        sa.Column("notifier", sa.String(128), nullable=False),
        sa.Column("due_ns", sa.BigInteger, nullable=False, index=True),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.execute("ALTER TABLE keys RENAME COLUMN protocol TO dialect")
    for table in (
        "imports",
        "monitor_outbox",
        "monitor_history",
        "monitor_runs",
        "query_history",
        "virtual_fields",
        "field_notes",
        "former_map_fields",
        "map_fields",
        "documents",
    ):
        op.drop_table(table)
