"""The audit trail: an event for each change, in a dataset of the organisation that only the server writes.

The trail of the first organisation is named `axiom-audit`, as Axiom's is, and `action` has Axiom's names. https://axiom.co/docs/reference/audit-log
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

DATASET = "axiom-audit"  # of the first organisation; others append a dot and their id
DESCRIPTION = "Who changed what, and when. The server alone writes it."
# Denied on a trail to every grant. A virtual field could show what did not happen.
_REFUSED = (
    ("ingest", "create"),
    ("trim", "update"),
    ("vacuum", "update"),
    ("data", "delete"),
    ("virtualFields", "create"),
    ("virtualFields", "update"),
)


class Actor(Struct, frozen=True):
    """The credential that made a change, and its user."""

    kind: Literal["personal", "api", "key"]  # of the credential
    credential: str  # its id
    id: str = ""  # of the user that it belongs to, or that created it
    name: str = ""
    email: str = ""


class AuditResource(Struct, frozen=True):
    """The resource that was changed."""

    type: str  # such as dataset
    id: str
    name: str = ""


class AuditEntry(Struct, frozen=True):
    """One change."""

    organisation: str
    action: str  # such as createDataset
    actor: Actor
    resource: AuditResource
    properties: dict[str, Any] = {}  # details, by action
    method: str = ""  # of the request
    path: str = ""
    status: int = 0
    trace_id: str = ""  # as in the header X-Axiom-Trace-Id of the response
    address: str = ""  # of the client


def is_audit(dataset: str) -> bool:
    """Return whether a dataset name is reserved for audit trails."""
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
