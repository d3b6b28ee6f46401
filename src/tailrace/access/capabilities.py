"""What a token may do: capability maps as Axiom's API tokens have them, and the checks against them."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from tailrace.events import BadRequest, Forbidden

Capabilities = dict[str, list[str]]  # capability to actions, as in JSON: {"ingest": ["create"]}
EVERY_DATASET = "*"

_CRUD = ("create", "read", "update", "delete")
# Capability maps of Axiom's `POST /v2/tokens`.
DATASET_CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "ingest": ("create",),
    "query": ("read",),
    "starredQueries": _CRUD,
    "virtualFields": _CRUD,
    "trim": ("update",),
    "vacuum": ("update",),
    "data": ("delete",),
    "share": _CRUD,
}
ORG_CAPABILITIES: Mapping[str, tuple[str, ...]] = {
    "annotations": _CRUD,
    "apiTokens": _CRUD,
    "auditLog": ("read",),
    "billing": ("read", "update"),
    "dashboards": _CRUD,
    "datasets": _CRUD,
    "endpoints": _CRUD,
    "flows": _CRUD,
    "integrations": _CRUD,
    "monitors": _CRUD,
    "notifiers": _CRUD,
    "rbac": _CRUD,
    "sharedAccessKeys": ("read", "update"),
    "users": _CRUD,
    "views": _CRUD,
}


class Grant(Struct, frozen=True):
    """What the bearer of a token may do; a personal token may do everything its user may."""

    token_id: str
    kind: Literal["personal", "api"]
    user_id: str
    organisation: str
    datasets: dict[str, Capabilities] = {}  # by dataset name, or "*" for every dataset
    org: Capabilities = {}


def allows(grant: Grant, *, capability: str, action: str, dataset: str | None = None) -> bool:
    """Return whether the grant covers an action on a dataset, or on the organisation when no dataset is named."""
    if grant.kind == "personal":
        return True
    if dataset is None:
        return action in grant.org.get(capability, ())
    for name in (dataset, EVERY_DATASET):
        held = grant.datasets.get(name)
        if held is not None and action in held.get(capability, ()):
            return True
    return False


def require(grant: Grant, *, capability: str, action: str, dataset: str | None = None) -> None:
    """Raise Forbidden, naming what is missing, unless the grant covers the action."""
    if not allows(grant, capability=capability, action=action, dataset=dataset):
        where = "the organisation" if dataset is None else f"dataset {dataset!r}"
        raise Forbidden(f"the token lacks the capability {capability}:{action} on {where}")


def require_all(grant: Grant, datasets: Mapping[str, Capabilities], org: Capabilities) -> None:
    """Raise Forbidden unless the grant covers every capability given, so that a token cannot make a mightier one."""
    for dataset, capabilities in datasets.items():
        for capability, actions in capabilities.items():
            for action in actions:
                require(grant, capability=capability, action=action, dataset=dataset)
    for capability, actions in org.items():
        for action in actions:
            require(grant, capability=capability, action=action)


def checked_dataset_capabilities(
    given: Mapping[str, Mapping[str, Sequence[str] | None] | None] | None,
) -> dict[str, Capabilities]:
    """Return the map without empty and null members, which clients send for what is not granted.

    Raises BadRequest for a capability or an action that does not exist.
    """
    kept = {
        dataset: _checked(capabilities, DATASET_CAPABILITIES, f"datasetCapabilities[{dataset!r}]")
        for dataset, capabilities in (given or {}).items()
    }
    return {dataset: capabilities for dataset, capabilities in kept.items() if capabilities}


def checked_org_capabilities(given: Mapping[str, Sequence[str] | None] | None) -> Capabilities:
    """Return the map without empty and null members; raises BadRequest for what does not exist."""
    return _checked(given, ORG_CAPABILITIES, "orgCapabilities")


def _checked(
    given: Mapping[str, Sequence[str] | None] | None, known: Mapping[str, tuple[str, ...]], where: str
) -> Capabilities:
    kept: Capabilities = {}
    for capability, actions in (given or {}).items():
        if capability not in known:
            near = difflib.get_close_matches(capability, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise BadRequest(f"unknown capability {capability!r} in {where}; {hint}")
        for action in actions or ():
            if action not in known[capability]:
                raise BadRequest(
                    f"unknown action {action!r} of {capability} in {where}; known are {', '.join(known[capability])}"
                )
        if actions:
            kept[capability] = list(dict.fromkeys(actions))
    return kept
