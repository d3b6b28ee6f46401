"""Users, tokens, keys and what each may do, kept in an SQL store that holds only hashes of secrets."""

from tailrace.access.capabilities import Capabilities, Grant, allows, require
from tailrace.access.keys import KeyDialect, KeyGrant, KeyRecord
from tailrace.access.sessions import Sessions
from tailrace.access.store import Access
from tailrace.access.tokens import NO_EXPIRY, TokenRecord

__all__ = [
    "NO_EXPIRY",
    "Access",
    "Capabilities",
    "Grant",
    "KeyDialect",
    "KeyGrant",
    "KeyRecord",
    "Sessions",
    "TokenRecord",
    "allows",
    "require",
]
