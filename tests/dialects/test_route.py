"""Whose a request is, and what an error that a retry can help looks like."""

import pytest

from tailrace.dialects import axiom
from tailrace.dialects.route import CACHED_PATHS, Router
from tailrace.events import DiskFull, NotFound, Overloaded


@pytest.mark.parametrize(
    ("path", "handler", "params"),
    [
        ("/v1/datasets/logs/ingest", axiom.ingest, {"dataset": "logs"}),
        ("/v1/datasets/logs/ingest/", axiom.ingest, {"dataset": "logs"}),
        ("/axiom/v1/datasets/logs/ingest", axiom.ingest, {"dataset": "logs"}),
        ("/api/v1/datasets/logs/ingest", axiom.ingest, {"dataset": "logs"}),
        ("/v1/ingest/logs", axiom.ingest_edge, {"dataset": "logs"}),
        ("/api/v1/ingest", axiom.ingest_unnamed, {}),
        ("/api/v1/ingest/", axiom.ingest_unnamed, {}),
    ],
)
def test_an_ingest_path_finds_its_handler(path: str, handler: object, params: dict[str, str]) -> None:
    match = Router().match("POST", path.encode(), {})

    assert match.handlers == {"POST": handler}
    assert match.params == params


@pytest.mark.parametrize(
    ("path", "inner"),
    [
        ("/v1/datasets", "/v1/datasets"),
        ("/v1/datasets//ingest", "/v1/datasets//ingest"),
        ("/v1/ingest/a/b", "/v1/ingest/a/b"),
        ("/axiomatic/v1/ingest/a", "/axiomatic/v1/ingest/a"),
        ("/axiom/v2/datasets", "/v2/datasets"),
        ("/axiom", "/"),
        ("", "/"),
    ],
)
def test_any_other_path_has_no_handler_and_loses_its_mount(path: str, inner: str) -> None:
    match = Router().match("POST", path.encode(), {})

    assert match.handlers == {}
    assert match.path == inner


def test_the_paths_remembered_are_bounded() -> None:
    router = Router()

    for number in range(3 * CACHED_PATHS):
        router.match("POST", f"/{number}".encode(), {})

    assert router.match("POST", b"/v1/ingest/a", {}).params == {"dataset": "a"}
    assert len(router._paths) <= CACHED_PATHS


def test_a_429_has_the_full_set_of_limit_headers() -> None:
    response = axiom.render_error(Overloaded("too much", retry_after_s=3))

    headers = dict(response.headers)
    assert response.status == 429
    assert headers[b"retry-after"] == b"3"
    assert {b"x-ratelimit-scope", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"} <= set(headers)


def test_only_an_error_that_a_retry_can_help_says_when() -> None:
    assert dict(axiom.render_error(DiskFull("full")).headers)[b"retry-after"] == b"1"
    assert axiom.render_error(NotFound("gone")).headers == ()
