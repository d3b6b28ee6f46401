"""Keys of the other protocols: whose protocol one is for, what it may send to, and the object the API shows."""

import secrets
import string
from collections.abc import Sequence
from typing import Literal, get_args

from msgspec import Struct

from tailrace.access.audit import is_audit
from tailrace.access.capabilities import EVERY_DATASET, OwnerOf, is_foreign, nobody
from tailrace.access.tokens import PREFIXES
from tailrace.events import BadRequest

KeyProtocol = Literal["baselime", "datamix", "moesif"]
KEY_PROTOCOLS: tuple[KeyProtocol, ...] = get_args(KeyProtocol)

MIN_GIVEN_KEY_LENGTH = 16  # characters of a key that is brought along
MAX_GIVEN_KEY_LENGTH = 512
MIN_MOESIF_KEY_LENGTH = 50  # Moesif's Node client refuses shorter application ids
MOESIF_TAIL_LENGTH = 10  # last characters, by which Moesif's Kong plugin tells applications apart
_NEW_KEY_LENGTHS: dict[KeyProtocol, int] = {"baselime": 40, "datamix": 40, "moesif": 64}
_TOKEN_PREFIXES = tuple(PREFIXES.values())  # a request with one is taken for Axiom's without a look-up
_ALPHABET = string.ascii_letters + string.digits
_PRINTABLE = frozenset(map(chr, range(0x21, 0x7F)))


class KeyRecord(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A key as `/tailrace/v1/keys` shows it, without its secret."""

    id: str
    protocol: KeyProtocol
    name: str
    created_at: str  # RFC 3339, UTC
    expires_at: str | None  # RFC 3339, UTC; null when it does not end
    datasets: list[str] | None = None  # Baselime: those it may send to; ["*"] is every one
    dataset: str | None = None  # Moesif: the application's events
    destination: str | None = None  # Datamix: system.application.environment


class KeyGrant(Struct, frozen=True):
    """What the bearer of a key may do: send events, nothing else."""

    key_id: str
    protocol: KeyProtocol
    organisation: str
    expires_s: float  # Unix seconds; infinity when it does not end
    datasets: tuple[str, ...]  # Baselime's as given; the one of a Moesif application or a Datamix destination
    destination: str = ""  # Datamix: system.application.environment
    owner_of: OwnerOf = nobody

    def may_send_to(self, dataset: str) -> bool:
        """Whether events for the dataset may come with this key."""
        named = dataset in self.datasets or EVERY_DATASET in self.datasets
        return named and not self.is_foreign(dataset) and not is_audit(dataset)

    def is_foreign(self, dataset: str) -> bool:
        """Whether the dataset is another organisation's, as one may be that was made again under its name."""
        return is_foreign(self.organisation, dataset, self.owner_of)


def new_key(protocol: KeyProtocol) -> str:
    """Return a new random key, URL-safe, of the length that the protocol's clients expect."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_NEW_KEY_LENGTHS[protocol]))


def checked_given_key(protocol: KeyProtocol, key: str) -> str:
    """Return a key that its owner brings along; raises BadRequest for what cannot be told from others or a token."""
    shortest = MIN_MOESIF_KEY_LENGTH if protocol == "moesif" else MIN_GIVEN_KEY_LENGTH
    if not shortest <= len(key) <= MAX_GIVEN_KEY_LENGTH or not _PRINTABLE.issuperset(key):
        raise BadRequest(
            f"a {protocol} key is {shortest} to {MAX_GIVEN_KEY_LENGTH} printable ASCII characters without spaces"
        )
    if key.startswith(_TOKEN_PREFIXES):
        raise BadRequest(f"a {protocol} key does not begin like a token: {' or '.join(_TOKEN_PREFIXES)}")
    return key


def checked_scope(
    protocol: str, *, datasets: Sequence[str] | None, dataset: str | None, destination: str | None
) -> tuple[KeyProtocol, list[str], str]:
    """Return the protocol, the datasets and the destination of a key to be made; raises BadRequest."""
    if protocol not in KEY_PROTOCOLS:
        raise BadRequest(f"unknown protocol {protocol!r}; keys are for {', '.join(KEY_PROTOCOLS)}")
    given = {"datasets": datasets, "dataset": dataset, "destination": destination}
    wanted = {"baselime": ("datasets", "dataset"), "moesif": ("dataset",), "datamix": ("destination",)}[protocol]
    for name, value in given.items():
        if value is not None and name not in wanted:
            raise BadRequest(f"a {protocol} key takes no {name!r}; it takes {' or '.join(map(repr, wanted))}")
    if protocol == "datamix":
        return "datamix", [checked_destination(destination)], destination or ""
    if datasets is not None and dataset is not None:
        raise BadRequest("give 'datasets' or 'dataset', not both")
    names = [dataset] if dataset is not None else list(datasets or ())
    if not names or not all(names):
        example = "'datasets': [\"*\"] for every one" if protocol == "baselime" else "the application's events go there"
        raise BadRequest(f"a {protocol} key needs {wanted[0]!r}; {example}")
    if protocol == "moesif" and EVERY_DATASET in names:
        raise BadRequest("a moesif key is for the one dataset of its application, not for every one")
    return ("baselime" if protocol == "baselime" else "moesif"), list(dict.fromkeys(names)), ""


def checked_destination(destination: str | None) -> str:
    """Return a Datamix destination, which is its dataset's name too; raises BadRequest unless it has three parts."""
    parts = (destination or "").split(".")
    if len(parts) != 3 or not all(parts):
        raise BadRequest("a datamix key needs 'destination', which is like system.application.environment")
    return destination or ""
