"""Datamix over HTTP, against a real server: sessions, logs, their answers, errors and cross-origin headers."""

import gzip
import json
import socket
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from conftest import MakeServer, Server

DESTINATION = "mixbook.datamix.staging"
LOGS = f"/destinations/{DESTINATION}/logs"
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
HOUR_MS = 3_600_000


def make_key(server: "Server", destination: str = DESTINATION, **more: Any) -> dict[str, Any]:
    """Return a new key as the API answers it, with the key itself."""
    answer = server.client.post(
        "/tailrace/v1/keys", json={"protocol": "datamix", "name": "test", "destination": destination, **more}
    )
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


@pytest.fixture(scope="module")
def key(server: "Server") -> str:
    made: str = make_key(server)["key"]
    return made


@pytest.fixture
def http(server: "Server") -> Iterator[httpx.Client]:
    """Yield a client without any credential."""
    with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def token(http: httpx.Client, key: str) -> str:
    return new_token(http, key)


def new_token(http: httpx.Client, key: str) -> str:
    answer = http.post("/sessions", json={"key": key})
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["token"]
    return token


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def log(text: str, **more: Any) -> dict[str, Any]:
    return {"level": "info", "timestamp": now_ms(), "message": text, **more}


def send(http: httpx.Client, token: str, *logs: Any, path: str = LOGS) -> httpx.Response:
    return http.post(path, json={"session": token, "messages": list(logs)})


def session_of(server: "Server", answer: httpx.Response, text: str) -> str:
    """Return the id of the session in which a message was stored."""
    rows = server.sql(f"""SELECT session FROM "{DESTINATION}" WHERE message = '{text}'""")
    assert len(rows) == 1
    session: str = rows[0]["session"]
    return session


def messages(server: "Server", session: str) -> list[str]:
    """Return what is stored of a session."""
    rows = server.sql(f"""SELECT message FROM "{DESTINATION}" WHERE session = '{session}' ORDER BY _time, message""")
    return [row["message"] for row in rows]


def no_cross_origin(answer: httpx.Response) -> bool:
    return not any(name.startswith("access-control") for name in answer.headers)


# The document's flow.


def test_a_session_is_answered_as_documented(http: httpx.Client, key: str) -> None:
    before = now_ms()
    answer = http.post("/sessions", json={"key": key})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["system", "application", "environment", "token", "expires"]
    assert [answer.json()[name] for name in ("system", "application", "environment")] == DESTINATION.split(".")
    assert isinstance(answer.json()["expires"], int)
    assert before + HOUR_MS <= answer.json()["expires"] <= now_ms() + HOUR_MS


def test_logs_are_answered_as_documented_and_stored(server: "Server", http: httpx.Client, token: str) -> None:
    sent = now_ms() - 1500
    answer = send(
        http,
        token,
        {"level": "info", "timestamp": sent, "message": "This is a simple info message"},
        {"level": "warn", "timestamp": sent + 1, "message": "This is a simple warning message"},
        {"level": "loud", "timestamp": sent, "message": "rejected"},
        {"level": "info", "timestamp": 1483229552000, "message": "rejected"},
    )

    assert answer.status_code == 200
    assert list(answer.json()) == ["session", "system", "application", "environment", "processed", "rejected"]
    assert answer.json()["session"] != token
    assert answer.json()["processed"] == 2
    assert answer.json()["rejected"] == [
        {"index": "2", "message": "Invalid log level: loud"},
        {"index": "3", "message": "Message timestamp is too old: 2017-01-01 00:12:32 UTC"},
    ]
    session = session_of(server, answer, "This is a simple info message")
    rows = server.sql(f"""SELECT * FROM "{DESTINATION}" WHERE session = '{session}' ORDER BY _time""")
    stored = [{name: value for name, value in row.items() if not name.startswith("_")} for row in rows]
    common = {"system": "mixbook", "application": "datamix", "environment": "staging", "session": session}
    assert stored == [
        {**common, "level": "info", "message": "This is a simple info message"},
        {**common, "level": "warn", "message": "This is a simple warning message"},
    ]
    for at, row in enumerate(rows):
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime((sent + at) // 1000))
        assert row["_time"].startswith(stamp)
        assert row["_time"].rstrip("Z").partition(".")[2].ljust(3, "0") == f"{(sent + at) % 1000:03}"


def test_the_next_request_needs_the_new_token(server: "Server", http: httpx.Client, token: str) -> None:
    first = send(http, token, log("rotation 1"))
    second = send(http, first.json()["session"], log("rotation 2"))
    stale = send(http, first.json()["session"], log("rotation 3"))

    assert (first.status_code, second.status_code, stale.status_code) == (200, 200, 403)
    assert stale.json()["error"] == "stale_session"
    assert messages(server, session_of(server, first, "rotation 1")) == ["rotation 1", "rotation 2"]


def test_logs_go_by_form_too(server: "Server", http: httpx.Client, token: str) -> None:
    form = {
        "session": token,
        "messages[1][level]": "error",
        "messages[1][timestamp]": str(now_ms()),
        "messages[1][message]": "form é & + %",
        "messages[0][level]": "nope",
        "messages[0][timestamp]": str(now_ms()),
        "messages[0][message]": "x",
    }

    answer = http.post(LOGS, data=form)

    assert answer.json()["processed"] == 1
    assert answer.json()["rejected"] == [{"index": "0", "message": "Invalid log level: nope"}]
    session_of(server, answer, "form é & + %")


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json", "text/plain;charset=UTF-8", "application/x-www-form-urlencoded", "image/png", ""],
)
def test_json_is_read_under_any_content_type(http: httpx.Client, key: str, content_type: str | None) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    started = http.post("/sessions", content=json.dumps({"key": key}), headers=headers)
    body = json.dumps({"session": started.json()["token"], "messages": [log("a")]})
    answer = http.post(LOGS, content=body, headers=headers)

    assert (answer.status_code, answer.json()["processed"]) == (200, 1)


def test_a_form_is_read_under_any_content_type(http: httpx.Client, key: str) -> None:
    started = http.post("/sessions", content=f"key={key}", headers={"Content-Type": "application/json"})

    assert started.status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
def test_a_compressed_body_is_read(http: httpx.Client, token: str, encoding: str) -> None:
    body = gzip.compress(json.dumps({"session": token, "messages": [log("a")]}).encode())

    assert http.post(LOGS, content=body, headers={"Content-Encoding": encoding}).json()["processed"] == 1


def test_the_session_may_come_in_the_query(http: httpx.Client, token: str) -> None:
    answer = http.post(LOGS, params={"session": token}, json={"messages": [log("a")]})
    assert (answer.status_code, answer.json()["processed"]) == (200, 1)

    form = {"messages[0][level]": "info", "messages[0][timestamp]": now_ms(), "messages[0][message]": "b"}
    answer = http.post(LOGS, params={"session": answer.json()["session"]}, data=form)
    assert (answer.status_code, answer.json()["processed"]) == (200, 1)


def test_the_session_in_the_body_comes_before_that_in_the_query(http: httpx.Client, token: str) -> None:
    body = {"session": token, "messages": []}

    assert http.post(LOGS, params={"session": "bad"}, json=body).status_code == 200
    assert http.post(LOGS, params={"session": token}, json={**body, "session": "bad"}).status_code == 403


def test_no_messages_are_nothing_processed(http: httpx.Client, token: str) -> None:
    answer = send(http, token)
    assert (answer.status_code, answer.json()["processed"], answer.json()["rejected"]) == (200, 0, [])

    answer = http.post(LOGS, data={"session": answer.json()["session"]})
    assert (answer.status_code, answer.json()["processed"], answer.json()["rejected"]) == (200, 0, [])


def test_when_all_is_rejected_the_answer_is_200_with_a_new_token(http: httpx.Client, token: str) -> None:
    answer = send(http, token, 5, {}, log("a", timestamp=1))

    assert (answer.status_code, answer.json()["processed"]) == (200, 0)
    assert [each["index"] for each in answer.json()["rejected"]] == ["0", "1", "2"]
    assert send(http, answer.json()["session"]).status_code == 200


def test_the_window_of_the_servers_clock(http: httpx.Client, token: str) -> None:
    margin_ms = 5_000
    texts = {"past": -600_000 + margin_ms, "ahead": 10_000 - margin_ms, "old": -600_001, "new": 10_000 + margin_ms}
    now = now_ms()

    answer = send(http, token, *(log(text, timestamp=now + ms) for text, ms in texts.items()))

    assert answer.json()["processed"] == 2
    assert [(each["index"], each["message"].partition(":")[0]) for each in answer.json()["rejected"]] == [
        ("2", "Message timestamp is too old"),
        ("3", "Message timestamp is too far in the future"),
    ]


def test_a_large_message_is_stored_whole(server: "Server", http: httpx.Client, token: str) -> None:
    text = "é" * 3_000_000
    answer = send(http, token, log(text))

    assert answer.json()["processed"] == 1, answer.text
    rows = server.sql(f"""SELECT message FROM "{DESTINATION}" WHERE length(message) = 3000000""")
    assert [row["message"] == text for row in rows] == [True]


def test_any_text_comes_back_equal(server: "Server", http: httpx.Client, token: str) -> None:
    texts = ["", "a\nb\tc\r", "\0", '"\\', "\U0001f600", "\u2028", "{}", "null", "1", "true"]
    now = now_ms()
    answer = send(http, token, log("texts"), *(log(text, timestamp=now - 1000 + at) for at, text in enumerate(texts)))

    assert answer.json()["processed"] == len(texts) + 1
    session = session_of(server, answer, "texts")
    rows = server.sql(f"""SELECT message FROM "{DESTINATION}" WHERE session = '{session}' ORDER BY _time""")
    assert [row["message"] for row in rows][: len(texts)] == texts


# Keys.


@pytest.mark.parametrize("how", ["json", "form", "query"])
def test_a_key_may_come_in_json_in_a_form_or_in_the_query(http: httpx.Client, key: str, how: str) -> None:
    ways: dict[str, Any] = {
        "json": {"json": {"key": key}},
        "form": {"data": {"key": key}},
        "query": {"params": {"key": key}},
    }

    assert http.post("/sessions", **ways[how]).status_code == 200


def test_a_key_in_the_body_comes_before_that_in_the_query(http: httpx.Client, key: str) -> None:
    for body in (b'{"key":"unknown"}', b"key=unknown"):
        assert http.post("/sessions", params={"key": key}, content=body).status_code == 403
    for body in (json.dumps({"key": key}).encode(), f"key={key}".encode()):
        assert http.post("/sessions", params={"key": "unknown"}, content=body).status_code == 200
    for body in (b'{"secret":"x"}', b"secret=x", b'{"key":null}', b"key=", b""):
        assert http.post("/sessions", params={"key": key}, content=body).status_code == 200


def test_further_members_beside_the_key_are_passed_over(http: httpx.Client, key: str) -> None:
    assert http.post("/sessions", json={"key": key, "secret": "old", "a": [1]}).status_code == 200


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"key=", b"a=b", b'{"key":""}', b'{"key":null}', b'{"key":5}', b'{"key":["a"]}', b"hello"]
)
def test_without_a_key_there_is_no_session(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/sessions", content=body)

    assert (answer.status_code, answer.json()["error"]) == (403, "invalid_key")


def test_an_unknown_revoked_or_expired_key_or_one_of_another_kind_starts_no_session(
    server: "Server", http: httpx.Client
) -> None:
    revoked = make_key(server)
    server.client.delete(f"/tailrace/v1/keys/{revoked['id']}")
    for valid_s in (2, 10, 25):  # the first, unless the machine is busy
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + valid_s))
        spec = {"protocol": "datamix", "name": "short", "destination": DESTINATION, "expiresAt": ends}
        short = server.client.post("/tailrace/v1/keys", json=spec).json().get("key", "")
        begun = http.post("/sessions", json={"key": short}).status_code
        if begun == 200:
            break
    assert begun == 200
    other = server.client.post(
        "/tailrace/v1/keys", json={"protocol": "moesif", "name": "test", "dataset": "an-app"}
    ).json()["key"]

    for secret in ("unknown", revoked["key"], other, server.token, "é", "\ud800".encode("utf-8", "replace").decode()):
        answer = http.post("/sessions", json={"key": secret})
        assert (answer.status_code, answer.json()["error"]) == (403, "invalid_key")
        assert secret not in answer.text
    end = time.monotonic() + 30
    while http.post("/sessions", json={"key": short}).status_code == 200:
        assert time.monotonic() < end


def test_several_keys_of_a_destination_work_side_by_side(server: "Server", http: httpx.Client) -> None:
    keys = [make_key(server)["key"] for _ in range(2)]

    for key in keys:
        assert send(http, new_token(http, key), log("a")).status_code == 200


def test_a_revoked_key_ends_its_sessions_at_once(server: "Server", http: httpx.Client) -> None:
    made = make_key(server)
    answer = send(http, new_token(http, made["key"]), log("a"))
    assert answer.status_code == 200

    server.client.delete(f"/tailrace/v1/keys/{made['id']}")

    refused = send(http, answer.json()["session"], log("b"))
    assert (refused.status_code, refused.json()["error"]) == (403, "invalid_key")


# Refusals.


def test_a_token_with_any_byte_changed_is_refused(http: httpx.Client, token: str) -> None:
    for at, letter in enumerate(token):
        changed = token[:at] + chr(ord(letter) ^ 1) + token[at + 1 :]
        answer = send(http, changed, log("tampered"))
        assert (answer.status_code, answer.json()["error"]) == (403, "invalid_session"), at
    assert send(http, token, log("a")).status_code == 200


@pytest.mark.parametrize("session", [None, "", "x", "a.b", 5, ["a"], {}, "x" * 100_000])
def test_without_a_valid_token_nothing_is_logged(http: httpx.Client, session: Any) -> None:
    answer = http.post(LOGS, json={"session": session, "messages": [log("a")]})

    assert (answer.status_code, answer.json()["error"]) == (403, "invalid_session")


def test_a_key_is_no_session(http: httpx.Client, key: str) -> None:
    answer = send(http, key, log("a"))

    assert answer.status_code == 403
    assert key not in answer.text


def test_a_token_for_another_destination_is_refused(server: "Server", http: httpx.Client, token: str) -> None:
    make_key(server, "mixbook.datamix.production")

    answer = send(http, token, log("a"), path="/destinations/mixbook.datamix.production/logs")

    assert (answer.status_code, answer.json()["error"]) == (403, "wrong_destination")
    assert send(http, token, log("a")).status_code == 200


@pytest.mark.parametrize(
    "destination",
    ["a", "a.b", "a.b.c.d", "a..c", ".b.c", "a.b.", "mixbook.datamix.staging.", "a/b.c", "%2E%2E", "a%2Eb", ""],
)
def test_a_destination_is_three_parts_without_dots(http: httpx.Client, token: str, destination: str) -> None:
    answer = send(http, token, log("a"), path=f"/destinations/{destination}/logs")

    assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    ["/destinations", "/destinations/a.b.c", "/destinations/a.b.c/log", "/destinations/a.b.c/logs/x", "/sessions/x"],
)
def test_another_path_is_not_found(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={})

    assert (answer.status_code, sorted(answer.json())) == (404, ["error", "message"])


@pytest.mark.parametrize("path", ["/sessions", LOGS])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_another_method_is_refused(http: httpx.Client, path: str, method: str) -> None:
    answer = http.request(method, path)

    assert (answer.status_code, answer.json()["error"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"hello",
        b"null",
        b'{"session":"T","messages":[',
        b'{"messages":' + b"[" * 200_000,
        b"messages=x",
        b"messages[]=x",
        b"session=T&messages[x][level]=info",
        b"session=T&messages[99999999999999999999][level]=info",
    ],
)
def test_a_malformed_body_is_told(http: httpx.Client, token: str, body: bytes) -> None:
    answer = http.post(LOGS, params={"session": token}, content=body)

    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert send(http, token, log("a")).status_code == 200


@pytest.mark.parametrize("body", [{}, {"messages": None}, {"messages": {}}, {"messages": "a"}, {"Messages": []}])
def test_messages_must_be_a_list(http: httpx.Client, token: str, body: dict[str, Any]) -> None:
    answer = http.post(LOGS, json={"session": token, **body})

    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")
    assert "messages" in answer.json()["message"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'"key"', b'{"key":"a"'])
def test_a_malformed_body_starts_no_session(http: httpx.Client, key: str, body: bytes) -> None:
    answer = http.post("/sessions", params={"key": key}, content=body)

    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


def test_a_body_larger_than_the_server_takes_is_told(make_server: "MakeServer") -> None:
    server = make_server("--max-body-bytes=10000", "--max-wire-bytes=20000", "--max-events=5").start()
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        token = new_token(http, make_key(server)["key"])
        squeezed = gzip.compress(json.dumps({"session": token, "messages": [log("x" * 15_000)]}).encode())
        for answer in (
            send(http, token, log("x" * 15_000)),
            send(http, token, log("x" * 30_000)),
            send(http, token, *[log("a")] * 6),
            http.post(LOGS, content=squeezed, headers={"Content-Encoding": "gzip"}),
        ):
            assert (answer.status_code, answer.json()["error"]) == (413, "too_large")
        assert send(http, token, *[log("a")] * 5).json()["processed"] == 5


def test_a_request_for_a_session_is_small(http: httpx.Client, key: str) -> None:
    padded = json.dumps({"key": key, "padding": "x" * 70_000}).encode()
    for content, headers in ((padded, {}), (gzip.compress(padded), {"Content-Encoding": "gzip"})):
        answer = http.post("/sessions", content=content, headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (413, "too_large")


def test_an_unknown_content_encoding_is_told(http: httpx.Client, token: str) -> None:
    answer = http.post(LOGS, content=b"x", headers={"Content-Encoding": "lzma"})

    assert (answer.status_code, answer.json()["error"]) == (415, "unsupported_encoding")


# At the same time, and again.


def test_of_parallel_requests_with_one_token_exactly_one_is_processed(
    server: "Server", http: httpx.Client, token: str
) -> None:
    first = send(http, token, log("parallel"))
    token = first.json()["session"]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda n: send(http, token, log(f"parallel {n}")), range(20)))

    assert sorted(answer.status_code for answer in answers) == [200] + [403] * 19
    assert len(messages(server, session_of(server, first, "parallel"))) == 2


def test_a_retry_byte_by_byte_is_answered_alike_and_stored_once(
    server: "Server", http: httpx.Client, token: str
) -> None:
    body = json.dumps({"session": token, "messages": [log("retried"), log("bad", level="bad")]}).encode()
    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: http.post(LOGS, content=body), range(10)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert messages(server, session_of(server, answers[0], "retried")) == ["retried"]
    assert send(http, answers[0].json()["session"], log("after")).status_code == 200


def test_a_retry_after_the_client_hung_up_is_stored_once(server: "Server", http: httpx.Client, token: str) -> None:
    text = "x" * 100_000
    body = json.dumps({"session": token, "messages": [log("hung up"), log(text)]}).encode()
    head = f"POST {LOGS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as connection:
        connection.sendall(head + body)

    answer = http.post(LOGS, content=body)

    assert (answer.status_code, answer.json()["processed"]) == (200, 2)
    assert messages(server, session_of(server, answer, "hung up")) == ["hung up", text]


def test_five_megabytes_a_second_are_taken_and_what_is_more_is_answered_later(
    server: "Server", http: httpx.Client, token: str
) -> None:
    took_s = []
    for number in range(4):
        began = time.monotonic()
        answer = send(http, token, log(f"paced {number}"), log("x" * 7_000_000))
        took_s.append(time.monotonic() - began)
        assert answer.json()["processed"] == 2, answer.text
        token = answer.json()["session"]

    # 28 MB, of which 20 MB at once and the rest at 5 MB/s: whatever the machine took, no sooner than after 1.6 s.
    assert sum(took_s) > 1.5
    session = session_of(server, answer, "paced 3")
    assert len(messages(server, session)) == 8


def test_a_stale_token_is_taken_where_the_operator_says_so(make_server: "MakeServer") -> None:
    server = make_server("--datamix-stale-token=accept").start()
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        token = new_token(http, make_key(server)["key"])
        for number in range(3):
            assert send(http, token, log(f"{number}")).status_code == 200

    assert server.sql(f'SELECT count(*) AS c FROM "{DESTINATION}"') == [{"c": 3}]


# Restarts.


def test_sessions_go_on_after_a_kill_and_after_a_stop(make_server: "MakeServer") -> None:
    server = make_server().start()
    assert stat.S_IMODE((server.data / "sessions.key").stat().st_mode) == 0o600
    key = make_key(server)["key"]
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        token = send(http, new_token(http, key), log("0")).json()["session"]

    for number, end in enumerate((server.kill, server.stop), start=1):
        end()
        server.start()
        with httpx.Client(base_url=server.url, trust_env=False) as http:
            answer = send(http, token, log(f"{number}"))
            assert answer.status_code == 200, answer.text
            assert send(http, token, log("stale")).status_code == 403
            token = answer.json()["session"]

    rows = server.sql(f'SELECT message, session FROM "{DESTINATION}" ORDER BY _time')
    assert [row["message"] for row in rows] == ["0", "1", "2"]
    assert len({row["session"] for row in rows}) == 1


def test_a_damaged_secret_stops_the_start_with_a_message(make_server: "MakeServer") -> None:
    server = make_server().start()
    server.stop()
    (server.data / "sessions.key").write_text("damaged")

    process = server.launch()
    assert process.wait(60) == 1
    assert process.stdout is not None
    process.stdout.close()
    assert "sessions.key" in server.errors.read_text()
    assert "Traceback" not in server.errors.read_text()


def test_a_dataset_that_was_removed_is_made_again(make_server: "MakeServer") -> None:
    server = make_server().start()
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        token = new_token(http, make_key(server)["key"])
        assert server.client.delete(f"/v2/datasets/{DESTINATION}").status_code == 204
        assert send(http, token, log("again")).json()["processed"] == 1

    assert server.sql(f'SELECT message FROM "{DESTINATION}"') == [{"message": "again"}]


# Browsers, counters, secrets.


def test_logs_are_open_to_pages_of_any_origin(http: httpx.Client, token: str) -> None:
    origin = {"Origin": "https://shop.example"}
    answers = [
        http.post(LOGS, json={"session": token, "messages": []}, headers=origin),
        http.post(LOGS, json={"session": "bad", "messages": []}, headers=origin),
        http.post(LOGS, content=b"{", headers=origin),
    ]

    assert [answer.status_code for answer in answers] == [200, 403, 400]
    assert {answer.headers["access-control-allow-origin"] for answer in answers} == {"*"}


@pytest.mark.parametrize("mount", ["", "/datamix"])
def test_a_page_may_ask_to_send_json_logs(http: httpx.Client, mount: str) -> None:
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    answer = http.options(mount + LOGS, headers=asked)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "content-type"


@pytest.mark.parametrize("path", ["/sessions", "/sessions/", "/datamix/sessions", "/%73essions", "/datamix/sessions/"])
def test_sessions_are_closed_to_pages_of_other_origins(http: httpx.Client, key: str, path: str) -> None:
    origin = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    assert no_cross_origin(http.post(path, json={"key": key}, headers=origin))
    assert no_cross_origin(http.post(path, json={}, headers=origin))
    assert no_cross_origin(http.post(path, content=b"{", headers=origin))
    assert no_cross_origin(http.get(path, headers=origin))
    assert no_cross_origin(http.options(path, headers=origin))


def test_answers_with_tokens_are_not_to_be_kept(http: httpx.Client, key: str, token: str) -> None:
    assert http.post("/sessions", json={"key": key}).headers["cache-control"] == "no-store"
    assert send(http, token).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("mount", ["/datamix", ""])
@pytest.mark.parametrize("host", [None, "datamix.mixbook.com"])
def test_the_protocol_is_found_by_mount_by_path_and_by_host(
    http: httpx.Client, key: str, mount: str, host: str | None
) -> None:
    headers = {} if host is None else {"Host": host}
    started = http.post(f"{mount}/sessions", json={"key": key}, headers=headers)
    body = {"session": started.json()["token"], "messages": [log("a")]}

    assert http.post(f"{mount}{LOGS}", json=body, headers=headers).json()["processed"] == 1


def test_what_is_refused_is_counted_by_reason(server: "Server", http: httpx.Client, token: str) -> None:
    send(http, token, log("a", level="bad"), log("b", timestamp=1))
    send(http, "bad", log("a"))
    http.post("/sessions", json={"key": "unknown"})
    http.post(LOGS, content=b"{")
    text = server.client.get("/metrics").text

    for name in ("invalid_level", "timestamp_too_old"):
        assert f'tailrace_rejected_events_total{{protocol="datamix",reason="{name}",' in text
    for name in ("invalid_session", "invalid_key", "bad_request"):
        assert f'tailrace_refused_requests_total{{protocol="datamix",reason="{name}",' in text


def test_keys_and_tokens_are_not_in_what_the_server_prints(make_server: "MakeServer") -> None:
    server = make_server("--log-level=debug").start()
    key = make_key(server)["key"]
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        token = http.post("/sessions", params={"key": key}).json()["token"]
        refusals = [
            http.post(LOGS, params={"session": token}, content=b"{"),
            http.post("/sessions", params={"key": key}, content=b"{"),
            http.post("/sessions", params={"key": key + "x"}),
            http.post(LOGS, params={"session": token + "x"}, json={"messages": []}),
            http.post(LOGS, content=f"session={token}&messages={key}"),
        ]
        assert send(http, token, log("a")).status_code == 200
        assert {answer.status_code for answer in refusals} == {400, 403}
        printed = server.errors.read_text() + "".join(answer.text for answer in refusals)
        printed += server.client.get("/metrics").text

    assert key not in printed
    assert token not in printed
