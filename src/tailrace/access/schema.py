"""The tables of the access store, as the newest migration leaves them."""

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, LargeBinary, MetaData, String, Table, UniqueConstraint

MAX_NAME_LENGTH = 256  # characters of a name
MAX_DESCRIPTION_LENGTH = 4096  # characters of a description

metadata = MetaData()
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
)
keys = Table(
    "keys",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("dialect", String(16), key="protocol", nullable=False),
    Column("name", String(MAX_NAME_LENGTH), nullable=False),
    Column("hash", LargeBinary(32), nullable=False, unique=True),
    Column("tail_hash", LargeBinary(32)),  # of the characters by which Moesif's clients tell applications apart
    Column("user_id", String(64), ForeignKey("users.id"), nullable=False),
    Column("created_at", String(32), nullable=False),  # RFC 3339, UTC
    Column("expires_at", String(32)),  # RFC 3339, UTC; null for no end
    Column("datasets", JSON, nullable=False),
    Column("destination", String(512), nullable=False),
    Column("organisation", String(128), nullable=False, server_default="tailrace"),
)
changes = Table(
    "changes",
    metadata,
    Column("number", BigInteger, nullable=False),  # of changes so far; the table has one row
)
