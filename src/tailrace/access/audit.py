"""The audit trail: who did what to what, an event each in a dataset of the organisation that only the server writes.

Axiom calls its trail `axiom-audit`, and so is that of the first organisation here; its field `action` has Axiom's
names. https://axiom.co/docs/reference/audit-log
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

DATASET = "axiom-audit"  # of the first organisation; another one's has its id behind a dot
DESCRIPTION = "Who changed what, and when. The server alone writes it."
# Nobody may do these to a trail, whatever else they may; virtual fields of it could show what did not happen.
_REFUSED = (
    ("ingest", "create"),
    ("trim", "update"),
    ("vacuum", "update"),
    ("data", "delete"),
    ("virtualFields", "create"),
    ("virtualFields", "update"),
)


class Actor(Struct, frozen=True):
    """Who did it."""

    kind: Literal["personal", "api", "key"]  # of the credential
    credential: str  # its id
    id: str = ""  # of the user whose it is, or who made it
    name: str = ""
    email: str = ""


class AuditResource(Struct, frozen=True):
    """What it was done to."""

    type: str  # such as dataset
    id: str
    name: str = ""


class AuditEntry(Struct, frozen=True):
    """One act."""

    organisation: str
    action: str  # such as createDataset
    actor: Actor
    resource: AuditResource
    properties: dict[str, Any] = {}  # what more there is to say of it
    method: str = ""  # of the request
    path: str = ""
    status: int = 0
    trace_id: str = ""  # as in the header X-Axiom-Trace-Id of the answer
    address: str = ""  # that the request came from


def is_audit(dataset: str) -> bool:
    """Return whether a name is that of a trail, which no other dataset may have."""
    return dataset.startswith(DATASET) and (len(dataset) == len(DATASET) or dataset[len(DATASET)] == ".")


def is_refused(dataset: str, capability: str, action: str) -> bool:
    """Return whether an action would change a trail."""
    return (capability, action) in _REFUSED and is_audit(dataset)


def encode(entry: AuditEntry, time: str) -> bytes:
    """Return the event, without a newline; the time is RFC 3339."""
    event: dict[str, Any] = msgspec.to_builtins(entry)
    if not event["properties"]:
        del event["properties"]
    return msgspec.json.encode({"_time": time, **event})
