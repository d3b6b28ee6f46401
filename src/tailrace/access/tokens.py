"""Tokens: their secrets and hashes, their expiry, and the objects that the API answers with."""

import hashlib
import secrets
import uuid
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct

from tailrace.access.budget import Budget
from tailrace.access.capabilities import Capabilities
from tailrace.events import BadRequest
from tailrace.events.times import EXAMPLE, given_time

# Go's zero time, which Axiom's clients send and expect for a token that does not expire.
NO_EXPIRY = "0001-01-01T00:00:00Z"
TokenKind = Literal["personal", "api", "ingest", "session"]
# A token of a session by single sign-on ends with it; it may what the user may, and nobody has its secret.
PREFIXES: dict[TokenKind, str] = {"personal": "xapt-", "api": "xaat-", "ingest": "xait-", "session": "xast-"}
OF_USERS: tuple[TokenKind, ...] = ("personal", "session")  # which are for all organisations of their user


class TokenRecord(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A token as Axiom's `/v2/tokens` shows it; encoded as JSON it is that object, without the secret.

    A default dataset and a budget are shown where there is one, for axiom-go refuses members that it does not know.
    """

    id: str
    name: str
    description: str
    expires_at: str  # RFC 3339 in UTC; NO_EXPIRY when it does not end
    dataset_capabilities: dict[str, Capabilities]
    org_capabilities: Capabilities
    saml_authenticated: bool
    default_dataset: str = ""
    budget: Budget | None = None


class PersonalToken(Struct, frozen=True, rename="camel"):
    """A personal token as its user sees it, without the secret."""

    id: str
    name: str
    description: str
    created_at: str  # RFC 3339 in UTC
    expires_at: str  # RFC 3339 in UTC; NO_EXPIRY when it does not end


def new_secret(kind: TokenKind) -> str:
    """Return a new secret: the prefix of its kind and 122 random bits laid out as a UUID, as Axiom's are."""
    return PREFIXES[kind] + str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


def hash_of(secret: str) -> bytes:
    """Return the hash that is stored of a secret. Secrets are long and random, so a plain hash is safe."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def checked_expiry(given: str | datetime | None, now_s: float, name: str = "expiresAt") -> datetime | None:
    """Return the end of a token in UTC, None for no end (given as null, "" or Go's zero time).

    A time without an offset is UTC. Raise BadRequest, which calls it `name`, for what is no time or has passed.
    """
    end = given_time(given, name) if isinstance(given, str) else given
    if end is None:
        return None
    end = (end if end.tzinfo else end.replace(tzinfo=UTC)).astimezone(UTC)
    if end.timestamp() <= now_s:
        raise BadRequest(f"{name} {rfc3339(end)} has passed")
    return end


def checked_overlap(given: str | None, now: datetime) -> datetime:
    """Return when a token that is regenerated ends, in UTC and not before now; raise BadRequest for no time."""
    if not given:
        raise BadRequest(f"existingTokenExpiresAt is missing: it is a time, like {EXAMPLE}")
    return max(given_time(given, "existingTokenExpiresAt") or now, now)


def rfc3339(time: datetime) -> str:
    """Return a UTC time as Go's clients write it: fraction trimmed, `Z`."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S")
    return whole + (f".{time.microsecond:06d}".rstrip("0") if time.microsecond else "") + "Z"


def expiry_s(expires_at: str | None) -> float:
    """Return Unix seconds of a stored expiry, infinity for none."""
    return datetime.fromisoformat(expires_at).timestamp() if expires_at else float("inf")
