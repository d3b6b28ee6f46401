"""The console over HTTP: what browsers get at `/`, and the files of the page."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path

import brotli
import httpx
import pytest
from support.serving import serving

from tailrace.api.browser_cookie import HEADER
from tailrace.console.application import Console, encoding_for, is_known
from tailrace.console.assets import Assets

PAGE = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FILE = "/tailrace/console/assets/index-0a1b2c3d.js"
SCRIPT = b"export const answer = 42;\n" * 100
INDEX = b"<!doctype html>\n<title>Tailrace</title>\n"

Scenario = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture
def static(tmp_path: Path) -> Path:
    """Return a directory with a page, a file of it, and what is nobody's business."""
    directory = tmp_path / "static"
    (directory / "tailrace/console/assets").mkdir(parents=True)
    (directory / "index.html").write_bytes(INDEX)
    (directory / FILE[1:]).write_bytes(SCRIPT)
    (directory / "tailrace/console/icon.svg").write_bytes(b"<svg/>")
    (directory / "tailrace/console/.secret").write_bytes(b"HIDDEN")
    (directory / ".digest").write_bytes(b"HIDDEN")
    (tmp_path / "outside.txt").write_bytes(b"HIDDEN")
    return directory


@pytest.fixture
def played(tmp_path: Path, static: Path) -> Callable[[Scenario], None]:
    """Play a scenario at a server with that console."""

    def play(scenario: Scenario) -> None:
        async def run() -> None:
            async with serving(tmp_path, console=Console(Assets(static))) as served:
                transport = served.client._transport
                async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
                    await scenario(client)

        asyncio.run(run())

    return play


def test_a_browser_gets_the_page_and_others_get_what_they_always_got(played: Callable[[Scenario], None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        page = await client.get("/", headers=PAGE)
        assert (page.status_code, page.content) == (200, INDEX)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for accept in ("*/*", "application/json", "application/vnd.elasticsearch+json; compatible-with=9"):
            elastic = await client.get("/", headers={"Accept": accept})
            assert elastic.headers["content-type"].startswith(("application/json", "application/vnd.elasticsearch"))
            assert "content-security-policy" not in elastic.headers
        assert (await client.post("/", headers=PAGE)).headers["content-type"].startswith("application/json")

    played(scenario)


def test_the_console_is_not_where_another_protocol_is(played: Callable[[Scenario], None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for url in ("/moesif/", "/axiom/", "http://api.moesif.net/", "http://events.baselime.io/"):
            assert (await client.get(url, headers=PAGE)).headers["content-type"].startswith("application/json"), url
        assert (await client.get("//", headers=PAGE)).content == INDEX

    played(scenario)


def test_each_answer_keeps_pages_of_others_away_and_scripts_of_others_out(played: Callable[[Scenario], None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path in ("/", FILE, "/tailrace/console/nothing"):
            headers = (await client.get(path, headers=PAGE)).headers
            policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
            assert policy["default-src"] == "'self'"
            assert "unsafe" not in headers["content-security-policy"]
            assert policy["frame-ancestors"] == policy["base-uri"] == policy["object-src"] == "'none'"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
            assert headers["x-axiom-trace-id"]
            assert "access-control-allow-origin" not in headers
            preflight = await client.options(path, headers={**PAGE, "Origin": "https://other.example"})
            assert path == "/" or "access-control-allow-origin" not in preflight.headers

    played(scenario)


def test_sessions_are_for_no_page_of_another_origin(played: Callable[[Scenario], None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        headers = {"Origin": "https://other.example", "Access-Control-Request-Headers": HEADER}
        for path in ("/tailrace/v1/session", "/tailrace/v1/session/codes", "/axiom/tailrace/v1/session"):
            preflight = await client.options(path, headers=headers)
            assert preflight.status_code == 204
            for answer in (preflight, await client.post(path, headers=headers)):
                assert not [name for name in answer.headers if name.startswith("access-control-")]

    played(scenario)


def test_head_is_get_without_a_body(played: Callable[[Scenario], None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path in ("/", FILE):
            got, head = await client.get(path, headers=PAGE), await client.head(path, headers=PAGE)
            assert head.status_code == 200
            assert head.headers["etag"] == got.headers["etag"]
            assert head.headers["content-length"] == got.headers["content-length"]

    played(scenario)


def test_files_are_only_read(played: Callable[[Scenario], None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for method in ("POST", "PUT", "DELETE"):
            assert (await client.request(method, FILE, content=b"x" * 100)).status_code == 405

    played(scenario)


def test_files_named_by_their_content_are_kept_and_others_are_asked_for_again(
    played: Callable[[Scenario], None],
) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        assert (await client.get(FILE)).headers["cache-control"] == "public, max-age=31536000, immutable"
        for path in ("/", "/tailrace/console/icon.svg"):
            answer = await client.get(path, headers=PAGE)
            assert answer.headers["cache-control"] == "no-cache"
            assert {name.strip() for name in answer.headers["vary"].split(",")} == {"accept", "accept-encoding"}
            etag = answer.headers["etag"]
            for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
                same = await client.get(path, headers={**PAGE, "If-None-Match": known})
                assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
                assert "content-security-policy" in same.headers
            assert (await client.get(path, headers={**PAGE, "If-None-Match": '"other"'})).status_code == 200

    played(scenario)


def test_a_file_is_compressed_as_the_browser_accepts(played: Callable[[Scenario], None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        etags = set()
        for encoding, decode in (("br", brotli.decompress), ("gzip", gzip.decompress), ("identity", bytes)):
            async with client.stream("GET", FILE, headers={"Accept-Encoding": encoding}) as answer:
                body = b"".join([chunk async for chunk in answer.aiter_raw()])
            assert decode(body) == SCRIPT
            assert answer.headers.get("content-encoding", "identity") == encoding
            assert answer.headers["content-length"] == str(len(body))
            assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
            etags.add(answer.headers["etag"])
            same = await client.get(
                FILE, headers={"Accept-Encoding": encoding, "If-None-Match": answer.headers["etag"]}
            )
            assert same.status_code == 304
        assert len(etags) == 3

    played(scenario)


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.000, gzip; q=0", ""),
        ("*", ""),
        ("brr, xgzip", ""),
        ("", ""),
    ],
)
def test_the_encoding_is_one_that_is_accepted(accepted: str, encoding: str) -> None:
    assert encoding_for(accepted) == encoding


def test_no_tag_is_known_without_one() -> None:
    assert not is_known('"a"', "")
    assert not is_known('"a"', '"ab", "*"')


def test_no_path_leads_to_what_is_not_built(played: Callable[[Scenario], None]) -> None:
    async def scenario(client: httpx.AsyncClient) -> None:
        for path in (
            "",
            "nothing.js",
            "assets",
            ".secret",
            "../../.digest",
            "..%2f..%2f..%2foutside.txt",
            "%2e%2e/%2e%2e/%2e%2e/outside.txt",
            "..\\..\\..\\outside.txt",
            "/etc/passwd",
            "index.html",
            "%00",
        ):
            request = client.build_request("GET", "/")
            request.url = request.url.copy_with(raw_path=f"/tailrace/console/{path}".encode())
            answer = await client.send(request)
            assert answer.status_code == 404, path
            assert not any(word in answer.content for word in (b"HIDDEN", b"root:", b"<"))

    played(scenario)


def test_an_installation_without_the_console_says_so(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, console=Console(Assets(tmp_path / "absent"))) as served:
            page = await served.client.get("/", headers=PAGE)
            assert (page.status_code, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
            assert "not built" in page.text
            assert page.headers["content-security-policy"]
            assert (await served.client.get("/tailrace/console/x.js")).status_code == 404
            assert (await served.client.get("/v2/datasets")).status_code == 200

    asyncio.run(scenario())


def test_a_server_without_the_console_answers_browsers_as_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as served:
            assert (await served.client.get("/", headers=PAGE)).headers["content-type"].startswith("application/json")
            gone = await served.client.get("/tailrace/console/icon.svg")
            assert (gone.status_code, gone.json()["code"]) == (404, 404)

    asyncio.run(scenario())
