"""Request routing, and what an error that a retry can help looks like."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from protocols.toy_door import TOY_DOOR

from tailrace.api import ROUTES
from tailrace.events import DiskFull, NotFound, Overloaded
from tailrace.protocols import axiom, baselime, moesif
from tailrace.protocols.http import IngestService, Protocol, Request, Response, Route
from tailrace.protocols.registry import PROTOCOLS
from tailrace.protocols.router import CACHED_PATH_BYTES, CACHED_PATHS, Router


async def answer(request: Request, service: IngestService) -> Response:
    """Return a handler that routing only has to find."""
    return Response(204)


# The protocols by nothing but what routing looks at.
STUBS = (
    axiom.PROTOCOL,
    Protocol(
        name="baselime",
        title="Baselime",
        claims=baselime.PROTOCOL.claims,
        mount="/baselime",
        routes=(Route("POST", "/v1", answer), Route("POST", "/v1/{dataset}", answer)),
        render_error=axiom.render_error,
        hosts=("events.baselime.io", "otel.baselime.io", "otel-ingest.baselime.io", "cloudflare.baselime.io"),
        fallback=answer,
        exact_slashes=True,
    ),
    Protocol(
        name="datamix",
        title="Datamix",
        mount="/datamix",
        routes=(Route("POST", "/sessions", answer), Route("POST", "/destinations/{destination}/logs", answer)),
        render_error=axiom.render_error,
        own_paths=("/sessions", "/destinations"),
        hosts=("datamix.mixbook.com",),
    ),
    Protocol(
        name="moesif",
        title="Moesif",
        claims=moesif.PROTOCOL.claims,
        mount="/moesif",
        routes=(Route("POST", "/v1/events", answer), Route("GET", "/v1/config", answer)),
        render_error=axiom.render_error,
        own_paths=("/moesifapi", "/collector/v1", "/health/probe"),
        hosts=("api.moesif.net",),
    ),
)
KNOWN = {
    "xaat-known": "axiom",
    "a-root-token-of-any-look": "axiom",
    "known-to-baselime": "baselime",
    "known-to-datamix": "datamix",
    "known-to-moesif": "moesif",
}

NONE: dict[bytes, bytes] = {}
MOESIF = {b"x-moesif-application-id": b"known-to-moesif"}
NO_MOESIF = {b"x-moesif-application-id": b"unknown"}
BASELIME = {b"x-api-key": b"known-to-baselime"}
NO_BASELIME = {b"x-api-key": b"unknown"}
TOKEN = {b"authorization": b"Bearer xaat-known"}
NO_TOKEN = {b"authorization": b"Bearer xaat-unknown"}
ROOT_TOKEN = {b"authorization": b"Bearer a-root-token-of-any-look"}
BEARER_BASELIME = {b"authorization": b"Bearer known-to-baselime"}
BARE_BASELIME = {b"authorization": b"known-to-baselime"}
BEARER_MOESIF = {b"authorization": b"Bearer known-to-moesif"}
BEARER_DATAMIX = {b"authorization": b"Bearer known-to-datamix"}
NO_BEARER = {b"authorization": b"Bearer unknown"}
BASIC = {b"authorization": b"Basic " + b64encode(b"axiom:xaat-known")}
BROKEN_BASIC = {b"authorization": b"Basic ~~~"}
FIREHOSE = {b"x-amz-firehose-access-key": b"xaat-known"}
NO_FIREHOSE = {b"x-amz-firehose-access-key": b"unknown"}
AXIOM_DATASET = {b"x-axiom-dataset": b"logs"}
EVERY_CREDENTIAL = (NONE, MOESIF, NO_MOESIF, BASELIME, NO_BASELIME, TOKEN, NO_TOKEN, NO_BEARER, FIREHOSE)

Row = tuple[str, str, dict[bytes, bytes], str]  # method, path, headers, whose it is


def rows(methods: str, paths: str, *claims: tuple[dict[bytes, bytes], str]) -> list[Row]:
    """Return a row for every method, path and credential."""
    return [
        (method, path, headers, protocol)
        for method in methods.split()
        for path in paths.split()
        for headers, protocol in claims
    ]


def anyone(methods: str, paths: str, protocol: str) -> list[Row]:
    """Return the rows of paths that are one protocol's, whatever the credential."""
    return rows(methods, paths, *((headers, protocol) for headers in EVERY_CREDENTIAL))


COLLISIONS: list[Row] = [
    *rows(
        "POST",
        "/v1/events /v1/users /v1/companies /v1/subscriptions /v1/actions "
        "/v1/events/batch /v1/users/batch /v1/companies/batch /v1/subscriptions/batch /v1/actions/batch",
        (MOESIF, "moesif"),
        (NO_MOESIF, "moesif"),
        (BASELIME, "baselime"),
        (NO_BASELIME, "baselime"),
        (BEARER_BASELIME, "baselime"),
        (NO_BEARER, "baselime"),
        (NONE, "moesif"),
    ),
    *rows(
        "GET HEAD",
        "/v1/config /v1/rules",
        (MOESIF, "moesif"),
        (NO_MOESIF, "moesif"),
        (BASELIME, "baselime"),
        (NO_BASELIME, "baselime"),
        (NONE, "moesif"),
    ),
    *rows("POST PUT", "/v1/config /v1/rules", (NONE, "baselime"), (BASELIME, "baselime"), (MOESIF, "moesif")),
    *rows(
        "POST",
        "/v1/logs /v1/traces /v1/metrics",
        (MOESIF, "moesif"),
        (NO_MOESIF, "moesif"),
        (BASELIME, "baselime"),
        (NO_BASELIME, "baselime"),
        (BEARER_BASELIME, "baselime"),
        (BARE_BASELIME, "baselime"),
        (NO_BEARER, "baselime"),
        (TOKEN, "axiom"),
        ({**TOKEN, **AXIOM_DATASET}, "axiom"),
        (NONE, "baselime"),
    ),
    *rows(
        "POST",
        "/v1 /v1/",
        (NONE, "baselime"),
        (BASELIME, "baselime"),
        (NO_BASELIME, "baselime"),
        (BEARER_BASELIME, "baselime"),
        (BARE_BASELIME, "baselime"),
        (NO_BEARER, "baselime"),
    ),
    *rows(
        "POST",
        "/v1/ingest/x /v1/ingest/x/elastic/_bulk /v1/ingest/x/firehose "
        "/v1/datasets/x/ingest /v1/datasets/_apl /v1/query/_apl /v1/datasets",
        (BASELIME, "baselime"),
        (NO_BASELIME, "baselime"),
        (BEARER_BASELIME, "baselime"),
        (BARE_BASELIME, "baselime"),
        (TOKEN, "axiom"),
        (NO_TOKEN, "axiom"),
        (ROOT_TOKEN, "axiom"),
        (NO_BEARER, "axiom"),
        (BEARER_MOESIF, "axiom"),
        (BEARER_DATAMIX, "axiom"),
        (BASIC, "axiom"),
        (BROKEN_BASIC, "axiom"),
        (FIREHOSE, "axiom"),
        (NO_FIREHOSE, "axiom"),
        (NONE, "axiom"),
    ),
    *rows(
        "GET", "/v1/users /v1/users/u1", (TOKEN, "axiom"), (NO_TOKEN, "axiom"), (NONE, "axiom"), (BASELIME, "baselime")
    ),
    *rows("GET", "/v1/datasets", (TOKEN, "axiom"), (NONE, "axiom"), (BASELIME, "baselime"), (NO_BASELIME, "baselime")),
    *rows(
        "POST",
        "/v1/flyio /v1/koyeb",
        (BEARER_BASELIME, "baselime"),
        (NO_BEARER, "baselime"),
        (BASELIME, "baselime"),
        (NONE, "baselime"),
    ),
    *anyone("GET POST", "/v1/search/~/count/events /v1/~/governance/rules /v1/~ /v1/%7E/x", "axiom"),
    *anyone("GET POST", "/api/v1/datasets/x/ingest /api/v1/ingest /v2/datasets /v2 /v2/nothing", "axiom"),
    *anyone("POST", "/services/collector /services/collector/event/1.0", "axiom"),
    *anyone("POST GET", "/moesifapi/events /moesifapi/events/batch /moesifapi", "moesif"),
    *anyone("POST GET", "/collector/v1/events /collector/v1 /health/probe", "moesif"),
    *anyone("POST GET", "/sessions /destinations/a.b.c/logs /destinations/", "datamix"),
]

RULES: list[Row] = [
    # A mount before a path, a host and every credential.
    *(row for name in KNOWN.values() for row in anyone("POST GET", f"/{name} /{name}/v1/events /{name}/v2/x", name)),
    *rows("POST", "/moesif/sessions /moesif/datamix/sessions", (NONE, "moesif")),
    ("POST", "/baselime/v1/events", {**MOESIF, b"host": b"api.moesif.net"}, "baselime"),
    # An exclusive path before a host.
    ("POST", "/moesifapi/events", {b"host": b"api.axiom.co"}, "moesif"),
    ("POST", "/sessions", {b"host": b"events.baselime.io"}, "datamix"),
    ("GET", "/v2/datasets", {b"host": b"api.moesif.net"}, "axiom"),
    *rows(
        "GET", "/healthz /readyz /metrics /tailrace/v1/keys /tailrace/x", ({b"host": b"events.baselime.io"}, "axiom")
    ),
    # A host before a credential.
    ("POST", "/v1/events", {**MOESIF, b"host": b"events.baselime.io"}, "baselime"),
    ("POST", "/v1/events", {**BASELIME, b"host": b"api.moesif.net"}, "moesif"),
    ("POST", "/v1/datasets/x/ingest", {**BASELIME, b"host": b"api.axiom.co"}, "axiom"),
    ("POST", "/v1/datasets/x/ingest", {**TOKEN, b"host": b"events.baselime.io"}, "baselime"),
    ("POST", "/nothing", {b"host": b"datamix.mixbook.com"}, "datamix"),
    # Of several credentials the first that is known, in the order of Moesif, Baselime, Authorization.
    ("POST", "/v1/events", {**MOESIF, **BASELIME}, "moesif"),
    ("POST", "/v1/events", {**NO_MOESIF, **BASELIME}, "baselime"),
    ("POST", "/v1/events", {**MOESIF, **NO_BASELIME}, "moesif"),
    ("POST", "/v1/events", {**NO_MOESIF, **NO_BASELIME}, "moesif"),
    ("POST", "/v1/events", {**NO_MOESIF, **BEARER_BASELIME}, "baselime"),
    ("POST", "/v1/events", {**NO_MOESIF, **TOKEN}, "moesif"),
    ("POST", "/v1/events", {**NO_BASELIME, **TOKEN}, "baselime"),
    ("POST", "/v1/events", {**NO_BASELIME, **BEARER_BASELIME}, "baselime"),
    ("POST", "/v1/events", {**MOESIF, **TOKEN}, "moesif"),
    ("POST", "/v1/ingest/x", {**BASELIME, **TOKEN}, "baselime"),
    ("POST", "/v1/ingest/x", {**NO_BASELIME, **TOKEN}, "axiom"),
    ("POST", "/v1/ingest/x", {**NO_BASELIME, **NO_TOKEN}, "baselime"),
    ("POST", "/v1/ingest/x", {**NO_BASELIME, **ROOT_TOKEN}, "axiom"),
    ("POST", "/v1/ingest/x", {**NO_BASELIME, **BEARER_BASELIME}, "baselime"),
    ("POST", "/v1/ingest/x", {**NO_MOESIF, **NO_BASELIME, **TOKEN}, "axiom"),
    ("POST", "/v1/ingest/x", {**NO_MOESIF, **BASELIME, **TOKEN}, "baselime"),
    ("POST", "/v1/ingest/x", {**MOESIF, **BASELIME, **TOKEN}, "moesif"),
    ("POST", "/v1/ingest/x/firehose", {**NO_BASELIME, **FIREHOSE}, "axiom"),
    ("POST", "/v1/ingest/x/firehose", {**NO_BASELIME, **NO_FIREHOSE}, "baselime"),
    ("POST", "/v1/ingest/x/elastic/_bulk", {**NO_BASELIME, **BASIC}, "axiom"),
    # A credential of the wrong kind in a header is not known there.
    ("POST", "/v1/events", {b"x-moesif-application-id": b"known-to-baselime", **BASELIME}, "baselime"),
    ("POST", "/v1/events", {b"x-api-key": b"xaat-known", **BEARER_BASELIME}, "baselime"),
    ("POST", "/v1/events", {b"x-moesif-application-id": b"", b"x-api-key": b""}, "moesif"),
    # Without a credential: what the path looks like.
    *rows("GET POST", "/v1/user /v1/datasets/x /v1/datasets/x/y/z /v1/ingest/x/", (NONE, "axiom")),
    *rows("GET POST DELETE", "/v1/events /v1/events/ /v1/users/batch", (NONE, "moesif")),
    *rows("GET POST", "/v1/events/other /v1/Events /v1/x/batch /v1/config/batch /v1/query", (NONE, "baselime")),
    *rows("GET POST", "/v1/x /v1/x/y /v1/x/y/z /v1/x/ /v1//x /v1/x/y/z/more", (NONE, "baselime")),
    *rows("GET POST", "/ /nothing /v11/events /V1/events", (NONE, "axiom"), (MOESIF, "axiom"), (BASELIME, "axiom")),
]


@pytest.fixture(scope="module", params=["stubs", "real"])
def router(request: pytest.FixtureRequest) -> Router:
    """Return a router over stand-ins, and one over the protocols that the server has."""
    protocols = STUBS if request.param == "stubs" else PROTOCOLS
    return Router(protocols, api_paths=[route.path for route in ROUTES], protocol_of=KNOWN.get)


def owner(protocol: Protocol) -> str:
    """Return the name of a protocol; of a door that of the API's protocol, among whose paths it is."""
    return "axiom" if protocol.is_door else protocol.name


def by_path(cases: list[Row]) -> dict[str, list[Row]]:
    """Return those of each method and path, for one test of them, as together there are thousands."""
    found: dict[str, list[Row]] = {}
    for case in cases:
        found.setdefault(f"{case[0]} {case[1]}", []).append(case)
    return found


@pytest.mark.parametrize("cases", by_path(COLLISIONS).values(), ids=by_path(COLLISIONS))
def test_of_a_path_that_several_have_it_is_decided_whose_a_request_is(router: Router, cases: list[Row]) -> None:
    for method, path, headers, protocol in cases:
        assert owner(router.match(method, path.encode(), headers).protocol) == protocol, headers


@pytest.mark.parametrize("cases", by_path(RULES).values(), ids=by_path(RULES))
def test_the_first_rule_that_says_whose_a_request_is_decides(router: Router, cases: list[Row]) -> None:
    for method, path, headers, protocol in cases:
        assert owner(router.match(method, path.encode(), headers).protocol) == protocol, headers


@pytest.mark.parametrize("path", ["/v1/search/~/count/events", "/v1/~/governance/rules", "/v1/%7e/x", "/v1/x/~"])
@pytest.mark.parametrize("headers", EVERY_CREDENTIAL)
def test_a_path_of_moesifs_management_is_nobodys(router: Router, path: str, headers: dict[bytes, bytes]) -> None:
    match = router.match("POST", path.encode(), headers)

    assert match.handlers == {}
    assert match.protocol.fallback is None


@pytest.mark.parametrize(
    ("host", "protocol"),
    [
        ("api.moesif.net", "moesif"),
        ("API.Moesif.NET", "moesif"),
        ("api.moesif.net:443", "moesif"),
        ("api.moesif.net.", "moesif"),
        ("api.moesif.net.:8080", "moesif"),
        ("events.baselime.io", "baselime"),
        ("otel.baselime.io", "baselime"),
        ("otel-ingest.baselime.io:8443", "baselime"),
        ("cloudflare.baselime.io", "baselime"),
        ("datamix.mixbook.com", "datamix"),
        ("api.axiom.co", "axiom"),
        ("us-east-1.aws.edge.axiom.co", "axiom"),
        ("EU.axiom.co:80", "axiom"),
        ("moesif.internal", "moesif"),
        ("Moesif.Internal:8080", "moesif"),
        ("a.b.moesif.example", "moesif"),
        ("moesif.example", None),
        ("[2001:db8::1]", "baselime"),
        ("[2001:DB8::1]:8080", "baselime"),
        ("10.1.2.3:8080", "datamix"),
        ("[2001:db8::2]:8080", None),
        ("axiom.co", None),
        ("notaxiom.co", None),
        ("api.axiom.co.example.org", None),
        ("evil-api.moesif.net", None),
        ("localhost:8080", None),
        ("", None),
        (":8080", None),
        ("[", None),
        ("]", None),
    ],
)
def test_a_host_decides_with_any_port_and_in_any_case(host: str, protocol: str | None) -> None:
    named = {
        "moesif.Internal": "moesif",
        "*.moesif.example": "moesif",
        "[2001:DB8::1]": "baselime",
        "10.1.2.3": "datamix",
    }
    router = Router(STUBS, hosts=named, protocol_of=KNOWN.get)

    # No credential and no path of its own: without the host, the first protocol's.
    for _ in ("first", "remembered"):
        match = router.match("POST", b"/v1/x", {b"host": host.encode()})
        assert match.protocol.name == (protocol or "baselime")


@pytest.mark.parametrize(
    ("raw_path", "protocol", "path", "params"),
    [
        ("/moesif", "moesif", "/", {}),
        ("/moesif/", "moesif", "/", {}),
        ("/moesif/v1/events", "moesif", "/v1/events", {}),
        ("/moesif//v1/events", "moesif", "/v1/events", {}),
        ("//moesif/v1/events", "moesif", "/v1/events", {}),
        ("/%6Doesif/v1/events", "moesif", "/v1/events", {}),
        ("/moesif%2Fv1/events", "axiom", "/moesif/v1/events", {}),
        ("/Moesif/v1/events", "axiom", "/Moesif/v1/events", {}),
        ("/moesifs/v1/events", "axiom", "/moesifs/v1/events", {}),
        ("//v1/events", "moesif", "/v1/events", {}),
        ("/v1%2Fevents", "axiom", "/v1/events", {}),
        ("/baselime/v1/a%2Fb", "baselime", "/v1/a/b", {"dataset": "a/b"}),
        ("/baselime/v1/%7E", "baselime", "/v1/~", {"dataset": "~"}),
        ("/baselime/v1/a%20b", "baselime", "/v1/a b", {"dataset": "a b"}),
        ("/baselime/v1/%C3%BC", "baselime", "/v1/ü", {"dataset": "ü"}),
        ("/baselime/v1/%FF", "baselime", "/v1/\ufffd", {"dataset": "\ufffd"}),
        ("/baselime/v1/%", "baselime", "/v1/%", {"dataset": "%"}),
        ("/baselime/v1", "baselime", "/v1", {}),
        ("/datamix/destinations/a.b.c/logs/", "datamix", "/destinations/a.b.c/logs/", {"destination": "a.b.c"}),
        ("*", "axiom", "/*", {}),
        ("", "axiom", "/", {}),
        ("//", "axiom", "/", {}),
    ],
)
def test_a_path_is_taken_apart_before_it_is_decoded(
    raw_path: str, protocol: str, path: str, params: dict[str, str]
) -> None:
    match = Router(STUBS).match("POST", raw_path.encode(), {})

    assert (match.protocol.name, match.path, match.params) == (protocol, path, params)


@pytest.mark.parametrize("path", ["/v1/x/", "/v1//x", "/v1/", "/baselime/v1/x/", "/baselime/v1//x"])
def test_an_empty_segment_makes_another_path_where_the_protocol_has_it_so(path: str) -> None:
    match = Router(STUBS).match("POST", path.encode(), BASELIME)

    assert match.protocol.name == "baselime"
    assert match.handlers == {}


def test_a_final_slash_is_passed_over_where_the_protocol_does_not_care() -> None:
    router = Router(STUBS)

    assert router.match("POST", b"/v1/events/", MOESIF).handlers == {"POST": answer}
    assert router.match("POST", b"/v1/events//", MOESIF).handlers == {}


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    path=st.binary(max_size=60)
    | st.lists(st.sampled_from(["v1", "~", "", "events", "%2F", "moesif", "x"])).map(
        lambda segments: "/".join(("", *segments)).encode()
    ),
    headers=st.dictionaries(
        st.sampled_from([b"host", b"authorization", b"x-api-key", b"x-moesif-application-id", *FIREHOSE]),
        st.binary(max_size=40) | st.sampled_from([b"Basic ", b"Bearer", b"Basic =", b"Bearer xaat-known"]),
    ),
)
def test_every_request_is_somebodys(method: str, path: bytes, headers: dict[bytes, bytes]) -> None:
    router = Router(STUBS, api_paths=[route.path for route in ROUTES], protocol_of=KNOWN.get)

    first = router.match(method, path, headers)

    assert first.path.startswith("/")
    assert router.match(method, path, headers) == first


def test_a_token_of_axiom_for_its_ingest_is_not_looked_up() -> None:
    def look_up(secret: str) -> str:
        raise AssertionError("looked up")

    match = Router(STUBS, protocol_of=look_up).match("POST", b"/v1/datasets/logs/ingest", TOKEN)

    assert match.handlers == {"POST": axiom.ingest}


def test_what_is_remembered_of_paths_and_hosts_is_bounded_in_bytes() -> None:
    router = Router(STUBS)

    for number in range(100):
        router.match("POST", b"/v1/%d" % number + b"x" * CACHED_PATH_BYTES, {b"host": b"y" * 2000 + b"%d" % number})

    assert router._path_cache == {}
    assert router._host_cache == {}


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
    match = Router(PROTOCOLS).match("POST", path.encode(), {})

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
    own = [protocol for protocol in PROTOCOLS if not protocol.is_door]
    match = Router(own, api_paths=[route.path for route in ROUTES]).match("POST", path.encode(), {})

    assert match.handlers == {}
    assert match.path == inner


def test_the_paths_remembered_are_bounded() -> None:
    router = Router(PROTOCOLS)

    for number in range(3 * CACHED_PATHS):
        router.match("POST", f"/{number}".encode(), {})

    assert router.match("POST", b"/v1/ingest/a", {}).params == {"dataset": "a"}
    assert len(router._path_cache) <= CACHED_PATHS


def test_a_429_has_the_full_set_of_limit_headers() -> None:
    response = axiom.render_error(Overloaded("too much", retry_after_s=3))

    headers = dict(response.headers)
    assert response.status == 429
    assert headers[b"retry-after"] == b"3"
    assert {b"x-ratelimit-scope", b"x-ratelimit-limit", b"x-ratelimit-remaining", b"x-ratelimit-reset"} <= set(headers)


def test_only_an_error_that_a_retry_can_help_says_when() -> None:
    assert dict(axiom.render_error(DiskFull("full")).headers)[b"retry-after"] == b"1"
    assert axiom.render_error(NotFound("gone")).headers == ()


@pytest.mark.parametrize(
    ("method", "path", "headers", "protocol"),
    [
        ("POST", "/lines/v1/lines", NONE, "lines"),
        ("POST", "/lines/v1/lines", BASELIME, "lines"),
        ("POST", "/v1/lines", TOKEN, "lines"),
        ("POST", "/v1/lines/", TOKEN, "lines"),
        ("POST", "/axiom/v1/lines", NONE, "lines"),
        ("POST", "/v1/lines", {b"host": b"api.axiom.co"}, "lines"),
        ("POST", "/v1/lines", NO_TOKEN, "lines"),
        ("POST", "/v1/lines", {**NO_BEARER, **AXIOM_DATASET}, "lines"),
        ("GET", "/v1/lines", TOKEN, "lines"),
        # Others have the path, too: without a token of the API it is theirs.
        ("POST", "/v1/lines", NONE, "baselime"),
        ("POST", "/v1/lines", BASELIME, "baselime"),
        ("POST", "/v1/lines", NO_BEARER, "baselime"),
        ("POST", "/v1/lines", BEARER_BASELIME, "baselime"),
        ("POST", "/v1/lines", {**TOKEN, b"host": b"events.baselime.io"}, "baselime"),
        # Outside of /v1 nobody else has it.
        ("POST", "/logs/_lines", NONE, "lines"),
        ("POST", "/logs/_lines", BASELIME, "lines"),
        ("POST", "/v2/_lines", NONE, "lines"),
        ("POST", "/tailrace/_lines", NONE, "axiom"),
        ("POST", "/api/prom/push", NONE, "loki"),
        ("POST", "/api/prom/_lines", NONE, "axiom"),
        ("POST", "/logs/_lines/more", NONE, "axiom"),
    ],
)
def test_a_door_is_among_the_paths_of_the_api(
    method: str, path: str, headers: dict[bytes, bytes], protocol: str
) -> None:
    router = Router((*PROTOCOLS, TOY_DOOR), api_paths=[route.path for route in ROUTES], protocol_of=KNOWN.get)

    assert router.match(method, path.encode(), headers).protocol.name == protocol
