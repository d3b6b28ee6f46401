"""Ingest keys of the protocols: their kinds, their grants, and the object that the API answers with."""

import secrets
import string
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from tailrace.access.audit import Actor, is_audit
from tailrace.access.capabilities import EVERY_DATASET, OwnerOf, is_foreign, no_owner
from tailrace.access.tokens import PREFIXES
from tailrace.events import BadRequest

MIN_GIVEN_KEY_LENGTH = 16  # characters of a key that the client brings
MAX_GIVEN_KEY_LENGTH = 512
Scope = Literal["datasets", "dataset", "destination"]
_MEMBERS: dict[Scope, tuple[str, ...]] = {
    "datasets": ("datasets", "dataset"),
    "dataset": ("dataset",),
    "destination": ("destination",),
}
_TOKEN_PREFIXES = tuple(PREFIXES.values())  # a request with one is for the API's protocol; no look-up is needed
_ALPHABET = string.ascii_letters + string.digits
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))


class KeyKind(Struct, frozen=True):
    """The kind of key that a protocol has: its length, and the member of a request that gives its scope."""

    protocol: str
    scope: Scope  # several datasets or "*"; one dataset; one destination, whose parts name its dataset
    length: int = 40  # characters of a new one
    min_given_length: int = MIN_GIVEN_KEY_LENGTH  # of a key that the client brings
    tail_length: int = 0  # last characters that are unique among keys, because clients identify a key by them
    parts: tuple[str, ...] = ()  # of a destination, joined by dots
    hint: str = ""  # in the error where the scope is missing

    @property
    def members(self) -> tuple[str, ...]:
        """The members of a request that give the scope."""
        return _MEMBERS[self.scope]


class KeyRecord(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A key as `/tailrace/v1/keys` shows it, without its secret."""

    id: str
    protocol: str
    name: str
    created_at: str  # RFC 3339, UTC
    expires_at: str | None  # RFC 3339, UTC; null when it does not end
    datasets: list[str] | None = None  # it may send to; ["*"] for all
    dataset: str | None = None  # it may send to
    destination: str | None = None  # it may send to, which is also the name of its dataset


class KeyGrant(Struct, frozen=True):
    """What a key allows: to send events, nothing else."""

    key_id: str
    protocol: str
    organisation: str
    expires_s: float  # Unix seconds; infinity when it does not end
    datasets: tuple[str, ...]  # or the dataset of its destination
    destination: str = ""
    owner_of: OwnerOf = no_owner

    @property
    def sender(self) -> str:
        """Whose requests are its."""
        return self.key_id

    @property
    def actor(self) -> Actor:
        """Who acts with it, for the audit trail."""
        return Actor("key", self.key_id)

    def may_send_to(self, dataset: str) -> bool:
        """Whether the key allows sending events to a dataset."""
        named = dataset in self.datasets or EVERY_DATASET in self.datasets
        return named and not self.is_foreign(dataset) and not is_audit(dataset)

    def is_foreign(self, dataset: str) -> bool:
        """Whether the dataset is another organisation's, as one is that was dropped and created again by that."""
        return is_foreign(self.organisation, dataset, self.owner_of)


def new_key(kind: KeyKind) -> str:
    """Return a new random key, URL-safe, of the length that the protocol's clients expect."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(kind.length))


def checked_given_key(kind: KeyKind, key: str) -> str:
    """Return a key that a client brings; raise BadRequest for one that is too short, or that looks like a token."""
    shortest = kind.min_given_length
    if not shortest <= len(key) <= MAX_GIVEN_KEY_LENGTH or not _PRINTABLE.issuperset(key):
        raise BadRequest(
            f"a {kind.protocol} key is {shortest} to {MAX_GIVEN_KEY_LENGTH} printable ASCII characters without spaces"
        )
    if key.startswith(_TOKEN_PREFIXES):
        raise BadRequest(f"a {kind.protocol} key does not begin like a token: {' or '.join(_TOKEN_PREFIXES)}")
    return key


def checked_scope(
    kind: KeyKind, *, datasets: Sequence[str] | None, dataset: str | None, destination: str | None
) -> tuple[list[str], str]:
    """Return the datasets and the destination of a new key; raise BadRequest."""
    given = {"datasets": datasets, "dataset": dataset, "destination": destination}
    for name, value in given.items():
        if value is not None and name not in kind.members:
            taken = " or ".join(map(repr, kind.members))
            raise BadRequest(f"{name}: a {kind.protocol} key takes none; it takes one {taken}")
    if kind.scope == "destination":
        parts = (destination or "").split(".")
        if len(parts) != len(kind.parts) or not all(parts):
            raise BadRequest(f"destination: a {kind.protocol} key needs one, which is like {'.'.join(kind.parts)}")
        return [destination or ""], destination or ""
    if datasets is not None and dataset is not None:
        raise BadRequest("give 'datasets' or 'dataset', not both")
    names = [dataset] if dataset is not None else list(datasets or ())
    if not names or not all(names):
        raise BadRequest(f"{kind.members[0]}: a {kind.protocol} key needs it; {kind.hint}")
    if kind.scope == "dataset" and EVERY_DATASET in names:
        raise BadRequest(f"dataset: a {kind.protocol} key is for one dataset, not for every one")
    return list(dict.fromkeys(names)), ""
