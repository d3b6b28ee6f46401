"""Grants: what a token may do, as the capability maps of Axiom's API tokens, and the checks against them."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from tailrace.access.audit import DATASET as AUDIT_DATASET
from tailrace.access.audit import Actor, is_audit, is_refused
from tailrace.access.budget import Budget
from tailrace.events import BadRequest, DatasetNotFound, Forbidden

Capabilities = dict[str, list[str]]  # actions by capability, such as {"ingest": ["create"]}
GivenCapabilities = Mapping[str, Sequence[str] | None]  # the same as clients send it
EVERY_DATASET = "*"
FIRST_ORGANISATION = "tailrace"  # made at the first start; owns the datasets that name no owner

OwnerOf = Callable[[str], str | None]  # organisation of a dataset, "" for the first; None for an unknown dataset

_CRUD = ("create", "read", "update", "delete")
# Capability maps of Axiom's `POST /v2/tokens`, and `server`.
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
    "labels": _CRUD,
    "monitors": _CRUD,
    "notifiers": _CRUD,
    "rbac": _CRUD,
    # Not Axiom's: metrics and refused requests of the whole server; a backup of it.
    "server": ("read", "backup"),
    "sharedAccessKeys": ("read", "update"),
    "users": _CRUD,
    "views": _CRUD,
}
VIEW_CAPABILITIES: Mapping[str, tuple[str, ...]] = {"query": ("read",), "share": _CRUD}

UNLIMITED_ROLES = ("owner", "admin")
_READ = ("read",)
# What the other built-in roles allow.
ROLE_DATASETS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "user": {"ingest": ("create",), "query": _READ, "starredQueries": _CRUD, "virtualFields": _CRUD},
    "read-only": {"query": _READ, "starredQueries": _READ, "virtualFields": _READ},
    "none": {},
}
ROLE_ORG: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "user": {
        "annotations": _CRUD,
        "dashboards": _CRUD,
        "datasets": ("create", "read", "update"),
        "monitors": _CRUD,
        "notifiers": _CRUD,
        "users": _READ,
        "views": _CRUD,
    },
    "read-only": dict.fromkeys(
        ("annotations", "dashboards", "datasets", "monitors", "notifiers", "users", "views"), _READ
    ),
    "none": {},
}
ROLE_NAMES: Mapping[str, str] = {
    "owner": "Owner",
    "admin": "Admin",
    "user": "User",
    "read-only": "Read-only",
    "none": "None",
}


def role_capabilities(role: str) -> tuple[dict[str, Capabilities], Capabilities]:
    """Return the capability maps, of datasets and of the organisation, of a role that is not unlimited."""
    datasets = {capability: list(actions) for capability, actions in ROLE_DATASETS.get(role, {}).items()}
    org = {capability: list(actions) for capability, actions in ROLE_ORG.get(role, {}).items()}
    return ({EVERY_DATASET: datasets} if datasets else {}), org


def no_owner(dataset: str) -> str | None:
    """Return None: the owner of a dataset where owners are not known."""
    return None


class Grant(Struct, frozen=True):
    """What a token allows in one organisation; a personal token allows what its user's roles do."""

    token_id: str
    kind: Literal["personal", "api"]
    user_id: str
    organisation: str
    datasets: dict[str, Capabilities] = {}  # by dataset name, or "*" for every dataset
    org: Capabilities = {}
    role: str = "owner"  # of a personal token's user
    views: dict[str, Capabilities] = {}  # by the name or the id of a view
    owner_of: OwnerOf = no_owner
    default_dataset: str = ""  # of what an API token sends where nothing else names a dataset
    budget: Budget | None = None  # of its queries; None: they take what they like
    sender: str = ""  # whose requests are its: the user of a personal token, else what stays as it is regenerated

    @property
    def actor(self) -> Actor:
        """Who acts with it, for the audit trail."""
        return Actor(self.kind, self.token_id, self.user_id)

    @property
    def is_unlimited(self) -> bool:
        """Whether it may do everything within its organisation."""
        return self.kind == "personal" and self.role in UNLIMITED_ROLES


def audit_dataset(organisation: str) -> str:
    """Return the name of the dataset with an organisation's audit trail."""
    return AUDIT_DATASET if organisation == FIRST_ORGANISATION else f"{AUDIT_DATASET}.{organisation}"


def is_foreign(organisation: str, dataset: str, owner_of: OwnerOf) -> bool:
    """Return whether a dataset exists and belongs to another organisation."""
    owner = owner_of(dataset)
    return owner is not None and (owner or FIRST_ORGANISATION) != organisation


def allows(grant: Grant, *, capability: str, action: str, dataset: str | None = None) -> bool:
    """Return whether the grant covers an action on a dataset, or on the organisation when no dataset is named."""
    if dataset is None:
        if capability == "server" and grant.organisation != FIRST_ORGANISATION:
            return False  # it covers all organisations
        return grant.is_unlimited or action in grant.org.get(capability, ())
    return not is_foreign(grant.organisation, dataset, grant.owner_of) and _allows_own(
        grant, capability, action, dataset
    )


def _allows_own(grant: Grant, capability: str, action: str, dataset: str) -> bool:
    """Return whether the grant covers an action on a dataset that is not another organisation's."""
    if is_audit(dataset):
        return _allows_audit(grant, capability, action, dataset)
    if grant.is_unlimited:
        return True
    for name in (dataset, EVERY_DATASET):
        held = grant.datasets.get(name)
        if held is not None and action in held.get(capability, ()):
            return True
    return False


def _allows_audit(grant: Grant, capability: str, action: str, dataset: str) -> bool:
    """Return whether the grant covers reading the trail: by role or by name; the name "*" does not include it."""
    if is_refused(dataset, capability, action):
        return False
    if grant.is_unlimited or action in grant.datasets.get(dataset, {}).get(capability, ()):
        return True
    return (capability, action) == ("query", "read") and "read" in grant.org.get("auditLog", ())


def require_changeable(grant: Grant, dataset: str) -> None:
    """Raise DatasetNotFound for another organisation's dataset, Forbidden for the audit trail."""
    require_own(grant, dataset)
    require_no_audit(dataset)


def require_no_audit(dataset: str) -> None:
    """Raise Forbidden for the name of an audit trail, which only the server creates and writes."""
    if is_audit(dataset):
        raise Forbidden(f"{dataset!r} is the audit trail: the server alone writes it, and nobody changes it")


def require(grant: Grant, *, capability: str, action: str, dataset: str | None = None) -> None:
    """Raise Forbidden, naming what is missing, unless the grant covers the action.

    A dataset of another organisation is not found, so that its existence is not disclosed.
    """
    if dataset is None:
        allowed = allows(grant, capability=capability, action=action)
    else:
        require_own(grant, dataset)
        allowed = _allows_own(grant, capability, action, dataset)
    if not allowed:
        if dataset is not None and is_refused(dataset, capability, action):
            require_no_audit(dataset)
        where = "the organisation" if dataset is None else f"dataset {dataset!r}"
        raise Forbidden(f"the token lacks the capability {capability}:{action} on {where}")


def may_query(grant: Grant, dataset: str) -> bool:
    """Return whether the grant covers reading a dataset's events."""
    return allows(grant, capability="query", action="read", dataset=dataset)


def require_query(grant: Grant, dataset: str) -> None:
    """Raise as `require` does unless the grant covers reading a dataset's events."""
    require(grant, capability="query", action="read", dataset=dataset)


def require_own(grant: Grant, dataset: str) -> None:
    """Raise DatasetNotFound for a dataset that is another organisation's."""
    if is_foreign(grant.organisation, dataset, grant.owner_of):
        raise DatasetNotFound(f"dataset {dataset!r} not found")


def allows_view(grant: Grant, *names: str) -> bool:
    """Return whether the grant covers reading a view, which may go by several names.

    Source: Axiom's page on views. `views:read` covers all views; `query:read` on a view of a role, or on a dataset of
    that name, covers one.
    """
    if allows(grant, capability="views", action="read"):
        return True
    held = (of.get(name, {}).get("query", ()) for of in (grant.views, grant.datasets) for name in names)
    return any("read" in actions for actions in held)


def require_views(grant: Grant, views: Mapping[str, Capabilities]) -> None:
    """Raise Forbidden unless the grant covers reading each view, so that a role gives no more than its author has."""
    for view in views:
        if not allows_view(grant, view):
            raise Forbidden(f"the token lacks the capability views:read, or query:read on view {view!r}")


def require_all(grant: Grant, datasets: Mapping[str, Capabilities], org: Capabilities) -> None:
    """Raise Forbidden unless the grant covers every capability given, so that a token cannot create a broader one."""
    for dataset, capabilities in datasets.items():
        for capability, actions in capabilities.items():
            for action in actions:
                require(grant, capability=capability, action=action, dataset=dataset)
    for capability, actions in org.items():
        for action in actions:
            require(grant, capability=capability, action=action)


def checked_dataset_capabilities(
    given: Mapping[str, GivenCapabilities | None] | None,
) -> dict[str, Capabilities]:
    """Return the map without empty and null members, which clients send for capabilities not granted.

    Raise BadRequest for a capability or an action that does not exist.
    """
    kept = {
        dataset: _checked(capabilities, DATASET_CAPABILITIES, f"datasetCapabilities[{dataset!r}]")
        for dataset, capabilities in (given or {}).items()
    }
    return {dataset: capabilities for dataset, capabilities in kept.items() if capabilities}


def checked_org_capabilities(given: GivenCapabilities | None) -> Capabilities:
    """Return the map without empty and null members; raise BadRequest for what does not exist."""
    return _checked(given, ORG_CAPABILITIES, "orgCapabilities")


def checked_view_capabilities(
    given: Mapping[str, GivenCapabilities | None] | None,
) -> dict[str, Capabilities]:
    """Return the map, by view, without empty and null members; raise BadRequest for what does not exist."""
    if given and EVERY_DATASET in given:
        raise BadRequest(f"viewCapabilities name views one by one; {EVERY_DATASET!r} is not for views")
    kept = {
        view: _checked(capabilities, VIEW_CAPABILITIES, f"viewCapabilities[{view!r}]")
        for view, capabilities in (given or {}).items()
    }
    return {view: capabilities for view, capabilities in kept.items() if capabilities}


def _checked(given: GivenCapabilities | None, known: Mapping[str, tuple[str, ...]], where: str) -> Capabilities:
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
