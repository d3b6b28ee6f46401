"""The tables of the database, as the newest migration leaves them."""

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

MAX_NAME_LENGTH = 256  # characters of a name
MAX_DESCRIPTION_LENGTH = 4096  # characters of a description
MAX_DATASET_NAME_LENGTH = 128  # characters of a dataset's name
MAX_NODE_NAME_LENGTH = 40  # characters
MAX_VIRTUAL_FIELD_NAME_LENGTH = 200  # characters


class JsonText(TypeDecorator[Any]):
    """JSON as text: PostgreSQL's own type refuses NaN, which a monitor's value may be."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Return the JSON of a value."""
        return json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value of a JSON text."""
        return json.loads(value)


def timestamp(time_s: float) -> str:
    """Return a time, in Unix seconds, as the columns `…_at` have it: RFC 3339, UTC, which sorts as text does."""
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_NUMBER = BigInteger().with_variant(Integer, "sqlite")  # the type that SQLite counts up by itself

metadata = MetaData()

# Users, tokens, keys
organisations = Table(
    "organisations",
    metadata,
    Column("id", String(128), primary_key=True),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
)
users = Table(
    "users",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("email", String(MAX_NAME_LENGTH), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
)
memberships = Table(
    "memberships",
    metadata,
    Column("user_id", String(64), ForeignKey("users.id"), primary_key=True),
    Column("organisation", String(128), ForeignKey("organisations.id"), primary_key=True),
    Column("role", String(64), nullable=False),  # a built-in one, or the id of one in `roles`
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC; the first is the user's home
)
roles = Table(
    "roles",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organisation", String(128), ForeignKey("organisations.id"), nullable=False),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("description", String(MAX_DESCRIPTION_LENGTH), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("dataset_capabilities", JSON, nullable=False),
    Column("view_capabilities", JSON, nullable=False),
    Column("org_capabilities", JSON, nullable=False),
    UniqueConstraint("organisation", "name", name="roles_organisation_name"),
)
groups = Table(
    "user_groups",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("organisation", String(128), ForeignKey("organisations.id"), nullable=False),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("description", String(MAX_DESCRIPTION_LENGTH), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    UniqueConstraint("organisation", "name", name="user_groups_organisation_name"),
)
group_members = Table(
    "group_members",
    metadata,
    Column("group_id", String(64), ForeignKey("user_groups.id"), primary_key=True),
    Column("user_id", String(64), ForeignKey("users.id"), primary_key=True),
)
group_roles = Table(
    "group_roles",
    metadata,
    Column("group_id", String(64), ForeignKey("user_groups.id"), primary_key=True),
    Column("role", String(64), primary_key=True),  # a built-in one, or the id of one in `roles`
)
tokens = Table(
    "tokens",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("description", String(MAX_DESCRIPTION_LENGTH), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("expires_at", String(32)),  # RFC 3339, UTC; null for no end
    Column("dataset_capabilities", JSON, nullable=False),
    Column("org_capabilities", JSON, nullable=False),
    Column("organisation", String(128)),  # null for a personal token, which is for all of its user's
    Column("default_dataset", String(MAX_DATASET_NAME_LENGTH), nullable=False, server_default=""),  # "" for none
    Column("lineage", String(64), nullable=False, server_default=""),  # id of its first token, "" for itself
    Column("budget", JSON),  # null for none
)
token_usage = Table(
    "token_usage",
    metadata,
    Column("token", String(64), primary_key=True),  # id of its first token
    Column("day", String(10), nullable=False),  # of the use, UTC
    Column("rows", Float, nullable=False),
    Column("bytes", Float, nullable=False),
    Column("seconds", Float, nullable=False),
)
keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("protocol", String(16), nullable=False),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("tail_hash", LargeBinary(32)),  # of the characters by which clients of some protocols tell keys apart
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("expires_at", String(32)),  # RFC 3339, UTC; null for no end
    Column("datasets", JSON, nullable=False),
    Column("destination", String(512), nullable=False),
    Column("organisation", String(128), nullable=False, server_default="tailrace"),
)
browser_sessions = Table(
    "browser_sessions",
    metadata,
    Column("hash", LargeBinary(32), primary_key=True),
    Column("kind", String(16), nullable=False),  # "session", or "code": of a link that starts one
    Column("token_id", String(64), ForeignKey("tokens.id", ondelete="CASCADE"), nullable=False),
    Column("expires_at", String(32), nullable=False),  # RFC 3339, UTC
)
# Who providers of single sign-on say that users are.
identities = Table(
    "identities",
    metadata,
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(255), primary_key=True),  # the issuer's id of the person
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    UniqueConstraint("issuer", "user_id", name="identities_issuer_user_id"),
)
changes = Table(
    "changes",
    metadata,
    Column("number", BigInteger, nullable=False),  # of changes of what servers cache; the table has one row
)

# The nodes of a fleet. Times are the database's, in milliseconds since 1970.
nodes = Table(
    "nodes",
    metadata,
    Column("name", String(MAX_NODE_NAME_LENGTH), primary_key=True),
    Column("session", String(32), nullable=False),  # of the process that runs as the node
    Column("role", String(16), nullable=False),
    Column("url", String(512), nullable=False),  # of its HTTP server
    Column("flight_url", String(512), nullable=False),  # of its Arrow Flight server, "" for none
    Column("is_ready", Boolean, nullable=False),
    Column("ready_since_ms", BigInteger, nullable=False),  # 0 where it is not
    Column("expires_ms", BigInteger, nullable=False),
)
leases = Table(
    "leases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("node", String(MAX_NODE_NAME_LENGTH), nullable=False),  # that has it, or had it last
    Column("fence", BigInteger, nullable=False),  # rises whenever another process takes it
    Column("expires_ms", BigInteger, nullable=False),
)

log_positions = Table(
    "log_positions",
    metadata,
    Column("shard", String(64), primary_key=True),  # by the name of its lease
    # By writer: up to which everything of the shard's datasets is in their tables.
    Column("positions", JsonText, nullable=False),
)

# Documents, fields, queries

documents = Table(
    "documents",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("organisation", String(128), nullable=False, index=True),
    Column("area", String(32), nullable=False),  # such as "annotations"
    Column("id", String(128), nullable=False),
    Column("who", String(64), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("updated_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("updated_by", String(64), nullable=False),
    Column("version", Integer, nullable=False),  # from 1; rises with every change
    Column("body", JsonText, nullable=False),
    UniqueConstraint("organisation", "area", "id", name="documents_organisation_area_id"),
)
# Names of fields are too long for an index of PostgreSQL: that a field is here once is seen to by FieldStore.
map_fields = Table(
    "map_fields",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("dataset", String(128), nullable=False, index=True),
    Column("name", Text, nullable=False),
)
# Those that were map fields once, whose events are shown as they were sent.
former_map_fields = Table(
    "former_map_fields",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("dataset", String(128), nullable=False, index=True),
    Column("name", Text, nullable=False),
)
field_notes = Table(
    "field_notes",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("dataset", String(128), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("unit", String(64), nullable=False),
    Column("hidden", Boolean, nullable=False),
    Column("description", Text, nullable=False),
)
virtual_fields = Table(
    "virtual_fields",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("dataset", String(128), nullable=False),
    Column("name", String(MAX_VIRTUAL_FIELD_NAME_LENGTH), nullable=False),
    Column("expression", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("type", String(64), nullable=False),
    Column("unit", String(64), nullable=False),
    UniqueConstraint("dataset", "name", name="virtual_fields_dataset_name"),
)
query_history = Table(
    "query_history",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("dataset", Text, nullable=False),
    Column("who", String(64), nullable=False, index=True),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("query", JsonText, nullable=False),
)

# Monitors

monitor_runs = Table(
    "monitor_runs",
    metadata,
    Column("monitor", String(128), primary_key=True),
    Column("organisation", String(128), nullable=False),
    Column("next_ns", BigInteger, nullable=False),  # when it is due; 0 is at once
    Column("last_ns", BigInteger, nullable=False),  # when it ran last; 0 is never
    Column("error", Text, nullable=False),  # of the last run, empty where it went well
    Column("state", JsonText, nullable=False),
)
monitor_history = Table(
    "monitor_history",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("monitor", String(128), nullable=False, index=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("check_id", String(64), nullable=False),
    Column("body", JsonText, nullable=False),
)
monitor_outbox = Table(
    "monitor_outbox",
    metadata,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("monitor", String(128), nullable=False, index=True),
    Column("organisation", String(128), nullable=False),
    Column("notifier", String(128), nullable=False),
    Column("due_ns", BigInteger, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("message", JsonText, nullable=False),
)

# Which databases of earlier versions are in this one

imports = Table(
    "imports",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
)
