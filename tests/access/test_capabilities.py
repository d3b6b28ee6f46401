"""What a grant allows, and which capability maps are accepted."""

import pytest

from tailrace.access import Grant, allows, require
from tailrace.access.capabilities import (
    checked_dataset_capabilities,
    checked_org_capabilities,
    require_all,
)
from tailrace.events import BadRequest, Forbidden


def api(datasets: dict[str, dict[str, list[str]]], org: dict[str, list[str]] | None = None) -> Grant:
    return Grant("t", "api", "u", "o", datasets, org or {})


def test_a_personal_token_may_do_everything() -> None:
    grant = Grant("t", "personal", "u", "o")
    assert allows(grant, capability="ingest", action="create", dataset="logs")
    assert allows(grant, capability="users", action="delete")


def test_an_api_token_may_only_what_its_dataset_has() -> None:
    grant = api({"logs": {"ingest": ["create"]}})
    assert allows(grant, capability="ingest", action="create", dataset="logs")
    assert not allows(grant, capability="query", action="read", dataset="logs")
    assert not allows(grant, capability="ingest", action="create", dataset="Logs")
    assert not allows(grant, capability="ingest", action="create")


def test_a_star_is_every_dataset_beside_the_named_ones() -> None:
    grant = api({"*": {"query": ["read"]}, "logs": {"ingest": ["create"]}})
    assert allows(grant, capability="query", action="read", dataset="logs")
    assert allows(grant, capability="ingest", action="create", dataset="logs")
    assert allows(grant, capability="query", action="read", dataset="other")
    assert not allows(grant, capability="ingest", action="create", dataset="other")


def test_organisation_capabilities_are_of_their_own() -> None:
    grant = api({"*": {"query": ["read"]}}, {"datasets": ["read", "create"]})
    assert allows(grant, capability="datasets", action="create")
    assert not allows(grant, capability="datasets", action="delete")
    assert not allows(grant, capability="query", action="read")


def test_a_refusal_names_the_capability_and_the_dataset() -> None:
    with pytest.raises(Forbidden, match="ingest:create on dataset 'logs'"):
        require(api({}), capability="ingest", action="create", dataset="logs")
    with pytest.raises(Forbidden, match="datasets:create on the organisation"):
        require(api({}), capability="datasets", action="create")


def test_a_token_cannot_make_a_mightier_one() -> None:
    grant = api({"logs": {"ingest": ["create"]}}, {"apiTokens": ["create"]})
    require_all(grant, {"logs": {"ingest": ["create"]}}, {"apiTokens": ["create"]})
    with pytest.raises(Forbidden, match="dataset '\\*'"):
        require_all(grant, {"*": {"ingest": ["create"]}}, {})
    with pytest.raises(Forbidden, match="users:read"):
        require_all(grant, {}, {"users": ["read"]})


def test_null_and_empty_members_count_as_not_given() -> None:
    given = {"logs": {"ingest": ["create"], "query": None, "trim": []}, "a": None, "b": {"share": None}}
    assert checked_dataset_capabilities(given) == {"logs": {"ingest": ["create"]}}
    assert checked_dataset_capabilities(None) == {}
    assert checked_org_capabilities({"users": ["read", "read"], "views": None}) == {"users": ["read"]}


def test_an_unknown_capability_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadRequest, match=r"'ingset' in datasetCapabilities\['logs'\]; did you mean ingest\?"):
        checked_dataset_capabilities({"logs": {"ingset": ["create"]}})


def test_an_unknown_action_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadRequest, match=r"unknown action 'write' of ingest .* known are create"):
        checked_dataset_capabilities({"logs": {"ingest": ["write"]}})
    with pytest.raises(BadRequest, match="unknown action 'create' of billing"):
        checked_org_capabilities({"billing": ["create"]})


def test_the_audit_trail_is_read_by_name_or_by_its_capability_and_changed_by_nobody() -> None:
    owner = Grant("t", "personal", "u", "o")
    everywhere = api({"*": {"query": ["read"], "ingest": ["create"]}})
    by_name = api({"axiom-audit.o": {"query": ["read"]}})
    by_capability = api({}, {"auditLog": ["read"]})

    for grant, reads in ((owner, True), (everywhere, False), (by_name, True), (by_capability, True)):
        assert allows(grant, capability="query", action="read", dataset="axiom-audit.o") == reads
        for capability, action in (("ingest", "create"), ("trim", "update"), ("vacuum", "update"), ("data", "delete")):
            assert not allows(grant, capability=capability, action=action, dataset="axiom-audit.o")
    assert allows(everywhere, capability="ingest", action="create", dataset="axiom-audits")
    with pytest.raises(Forbidden, match="the server alone"):
        require(owner, capability="trim", action="update", dataset="axiom-audit")
