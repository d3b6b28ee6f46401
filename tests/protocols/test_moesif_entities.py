"""Users, companies and subscriptions: each is one current state, whatever came for it and however the server ended."""

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.events import flat
from support.moesif import Application, flat_row
from support.waiting import wait_until

from tailrace.parsing import Limits
from tailrace.protocols.moesif_entities import USER, check_entities, merged

if TYPE_CHECKING:
    from conftest import MakeServer, Server


@pytest.fixture
def application(server: "Server") -> Application:
    return Application(server)


def accepts(answer: httpx.Response, count: int = 1) -> None:
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"accepted": count, "rejected": []}


def state(identity: str, revision: int, **members: Any) -> dict[str, Any]:
    return flat({"_id": identity, "_revision": revision, **members})


def test_objects_are_merged_and_other_values_replaced(application: Application) -> None:
    users = [
        {"user_id": "u", "metadata": {"name": "A", "tags": [1, 2], "a": {"b": {"c": 1}, "d": 2}}, "company_id": "c1"},
        {"user_id": "u", "metadata": {"tags": [3], "a": {"b": {"e": 2.5}, "d": {"now": "an object"}}}},
        {"user_id": "u", "metadata": {"a": {"b": 7, "f": None}, "name": None}, "company_id": None},
    ]
    for user in users:
        accepts(application.post("/v1/users", user))

    assert application.stored("users") == [
        state(
            "u",
            3,
            user_id="u",
            company_id="c1",
            metadata={"name": "A", "tags": [3], "a": {"b": 7, "d": {"now": "an object"}}},
        )
    ]


def test_session_tokens_gather(application: Application) -> None:
    for token in ("a", "b", "a", None, 7):
        accepts(application.post("/v1/users", {"user_id": "u", "session_token": token}))

    assert application.stored("users") == [state("u", 5, user_id="u", session_token=["a", "b", "7"])]


def test_a_batch_with_one_user_several_times_is_merged_in_order(application: Application) -> None:
    body = [{"user_id": f"u{n % 3}", "metadata": {"last": n, f"n{n}": True}} for n in range(9)]
    accepts(application.post("/v1/users/batch", body), 9)

    assert application.stored("users", "user_id") == [
        state(f"u{n}", 3, user_id=f"u{n}", metadata={"last": n + 6, **{f"n{n + k}": True for k in (0, 3, 6)}})
        for n in range(3)
    ]


def test_an_anonymous_user_is_one_of_its_own(application: Application) -> None:
    sent = {"anonymous_id": "x", "campaign": {"utm_source": "news"}}
    accepts(application.post("/v1/users", sent))
    accepts(application.post("/v1/users", {"user_id": "x", "anonymous_id": "x"}))

    assert application.stored("users", '"_id"') == [
        state("anonymous:x", 1, **sent),
        state("x", 1, user_id="x", anonymous_id="x"),
    ]


def test_ids_that_are_numbers_are_text(application: Application) -> None:
    accepts(application.post("/v1/users/batch", [{"user_id": 7}, {"user_id": "7", "company_id": 8}]), 2)
    accepts(application.post("/v1/companies", {"company_id": 8}))

    assert application.stored("users") == [state("7", 2, user_id="7", company_id="8")]
    assert application.stored("companies") == [state("8", 1, company_id="8")]


SUBSCRIPTION: dict[str, Any] = {
    "subscription_id": "s",
    "company_id": "c",
    "status": "active",
    "current_period_start": "2026-01-01T00:00:00Z",
    "items": [{"plan_id": "p", "price_id": "q", "metadata": {"n": 1}}, {"plan_id": "r"}],
    "metadata": {"n": 1},
}


def test_a_subscription(application: Application) -> None:
    accepts(application.post("/v1/subscriptions", SUBSCRIPTION))
    change = {"subscription_id": "s", "company_id": "c", "items": [{"plan_id": "new"}]}
    accepts(application.post("/v1/subscriptions/batch", [change]))

    assert application.stored("subscriptions") == [state("s", 2, **{**SUBSCRIPTION, "items": [{"plan_id": "new"}]})]


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/v1/users", {}, "user_id or anonymous_id is required"),
        ("/v1/users", {"user_id": None, "anonymous_id": ""}, "user_id or anonymous_id is required"),
        ("/v1/users", {"user_id": ["u"]}, "user_id is text"),
        ("/v1/companies", {"company_domain": "a"}, "company_id is required"),
        ("/v1/subscriptions", {"subscription_id": "s", "status": "active"}, "company_id is required"),
        ("/v1/subscriptions", {"company_id": "c", "status": "active"}, "subscription_id is required"),
        ("/v1/subscriptions", {"company_id": "c", "subscription_id": "s"}, "status is required"),
        ("/v1/subscriptions", {**SUBSCRIPTION, "items": [{"plan_id": "a"}, {}]}, "items[1].plan_id is required"),
    ],
)
def test_what_is_required(application: Application, path: str, body: dict[str, Any], reason: str) -> None:
    answer = application.post(path, body)

    assert answer.status_code == 400, answer.text
    assert answer.json()["rejected"] == [{"index": 0, "reason": answer.json()["rejected"][0]["reason"]}]
    assert reason in answer.json()["rejected"][0]["reason"]


def test_the_valid_part_of_a_batch_is_stored(application: Application) -> None:
    answer = application.post("/v1/users/batch", [{"user_id": "a"}, {}, 7, {"user_id": "b"}])

    assert answer.status_code == 201
    assert answer.json()["accepted"] == 2
    assert [each["index"] for each in answer.json()["rejected"]] == [1, 2]
    assert [row["_id"] for row in application.stored("users", "user_id")] == ["a", "b"]


def test_a_state_that_grows_too_large_is_refused_and_stays_as_it_was(make_server: "MakeServer") -> None:
    application = Application(make_server("--max-event-bytes=2KiB").start())
    accepts(application.post("/v1/users", {"user_id": "u", "metadata": {"a": "x" * 1500}}))
    answer = application.post("/v1/users/batch", [{"user_id": "u", "metadata": {"b": "x" * 1500}}, {"user_id": "v"}])

    assert answer.json()["accepted"] == 1
    assert "at most 2048" in answer.json()["rejected"][0]["reason"]
    assert [row["_id"] for row in application.stored("users", '"_id"')] == ["u", "v"]
    assert "metadata.b" not in application.stored("users", '"_id"')[0]


def test_the_server_s_own_names_make_way(application: Application) -> None:
    accepts(application.post("/v1/users", {"user_id": "u", "_id": "mine", "_revision": 99, "_time": "x"}))

    assert application.stored("users") == [
        state("u", 1, user_id="u", _user_id="mine", _user_revision=99, _user_time="x")
    ]


def test_a_dataset_of_that_name_which_is_something_else_is_a_conflict(server: "Server") -> None:
    application = Application(server)
    server.create(f"{application.dataset}-users")
    answer = application.post("/v1/users", {"user_id": "u"})

    assert answer.status_code == 409
    assert answer.json()["error"] == "conflict"
    assert f"{application.dataset}-users" in answer.json()["message"]


def test_two_at_once_lose_nothing(application: Application) -> None:
    def send(number: int) -> int:
        body = [{"user_id": f"u{number % 2}", "metadata": {f"n{number}": number}}, {"user_id": "all", f"m{number}": 1}]
        return application.post("/v1/users/batch", body).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, range(80))) == {201}
    rows = {row["_id"]: row for row in application.stored("users")}
    assert len(rows) == 3
    for each in (0, 1):
        found = {path for path in rows[f"u{each}"] if path.startswith("metadata.")}
        assert found == {f"metadata.n{number}" for number in range(each, 80, 2)}
    assert {path for path in rows["all"] if path.startswith("m")} == {f"m{number}" for number in range(80)}


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_states_are_right_after_a_restart(make_server: "MakeServer", end: str, committed: bool) -> None:
    running = make_server("--commit-age-s=0.1" if committed else "--commit-age-s=60").start()
    application = Application(running)
    odd = {
        "a.b": 1,
        "a": {"c": 2, "A": 3},
        "big": 2**70,
        "float": 1.0,
        "empty": {},
        "list": [{}, None, 2.5],
        "é ": True,
    }
    accepts(application.post("/v1/users", {"user_id": "u", "session_token": "t1", "metadata": odd}))
    if committed:
        wait_until(lambda: any((running.data / "lake" / f"{application.dataset}-users").glob("_day=*/*.parquet")))
    accepts(application.post("/v1/users", {"user_id": "u", "metadata": {"a": {"c": "two"}, "float": 2}}))
    getattr(running, end)()
    running.start()
    before = state("u", 2, user_id="u", session_token=["t1"], metadata={**odd, "a": {"c": "two", "A": 3}, "float": 2})
    assert application.stored("users") == [before]

    accepts(application.post("/v1/users", {"user_id": "u", "session_token": "t2", "metadata": {"big": 1, "new": [1]}}))
    after = {**before, "_revision": ("int", 3), "session_token": ["t1", "t2"]}
    after |= {"metadata.big": ("int", 1), "metadata.new": [("int", 1)]}
    assert application.stored("users") == [after]


def test_queries_see_current_states_only(application: Application) -> None:
    for number in range(5):
        accepts(application.post("/v1/users/batch", [{"user_id": "u", "n": number}, {"user_id": "v", "n": -number}]), 2)
    users = f'"{application.dataset}-users"'

    def sql(text: str) -> list[dict[str, Any]]:
        return application.server.sql(text)

    assert sql(f"SELECT count(*) AS c FROM {users}") == [{"c": 2}]
    assert sql(f"SELECT sum(n) AS s, min(n) AS low FROM {users}") == [{"s": 0, "low": -4}]
    assert sql(f"SELECT user_id FROM {users} WHERE n = 3") == []
    assert sql(f"SELECT user_id, n FROM {users} WHERE user_id = 'u'") == [{"user_id": "u", "n": 4}]
    joined = sql(f"SELECT a.user_id FROM {users} a JOIN {users} b ON a.n = -b.n ORDER BY 1")
    assert joined == [{"user_id": "u"}, {"user_id": "v"}]


# Merging


leaves = st.integers(0, 3) | st.sampled_from(["x", True, 2.5]) | st.lists(st.integers(0, 1), max_size=2)
documents = st.recursive(
    st.dictionaries(st.sampled_from("abc"), leaves, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), leaves | inner, max_size=3),
    max_leaves=8,
)


def recursively(before: Any, change: Any) -> Any:
    if not (isinstance(before, dict) and isinstance(change, dict)):
        return change
    both = {name: recursively(before[name], change[name]) for name in before.keys() & change.keys()}
    return {**before, **change, **both}


@given(st.lists(documents, max_size=5))
def test_merging_by_path_is_merging_recursively(changes: list[dict[str, Any]]) -> None:
    body = json.dumps([{"user_id": "u", "metadata": change} for change in changes]).encode()
    found = check_entities(body, USER, single=False, limits=Limits(), received_ns=0)
    after: dict[str, msgspec.Raw] = {}
    expected: dict[str, Any] = {}
    for upsert, change in zip(found.upserts, changes, strict=True):
        after = merged(after, upsert.members)
        expected = recursively(expected, {"user_id": "u", "metadata": change})

    row = {path: msgspec.json.decode(value) for path, value in after.items()}
    assert flat_row({"_time": 0, "_rest": None, **row}) == flat(expected)


def nested(depth: int, leaves: int) -> bytes:
    """Return a user whose every value has a path of 190 bytes a level."""
    opened = b"".join(b'{"%s":' % (bytes([97 + level % 26]) * 190) for level in range(depth))
    inner = b"{" + b",".join(b'"%d":1' % leaf for leaf in range(leaves)) + b"}"
    return b'{"user_id":"u","m":' + opened + inner + b"}" * depth + b"}"


def test_long_paths_cost_no_more_than_a_state_may_have() -> None:
    tracemalloc.start()
    try:
        found = check_entities(nested(90, 9_000), USER, single=True, limits=Limits(), received_ns=1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.upserts == []
    assert "more than 1048576 bytes" in found.rejections[0].reason
    assert peak < 20_000_000


def test_a_change_has_a_bounded_number_of_values() -> None:
    body = b'{"user_id":"u","m":{' + b",".join(b'"%d":1' % leaf for leaf in range(10_000)) + b"}}"
    found = check_entities(body, USER, single=True, limits=Limits(), received_ns=1)
    assert "more than 10000 values" in found.rejections[0].reason


def test_the_newest_session_tokens_are_kept() -> None:
    before: dict[str, msgspec.Raw] = {}
    for number in range(300):
        before = merged(before, {"session_token": msgspec.Raw(b'"%04d%s"' % (number, b"x" * 1000))})
    tokens = msgspec.json.decode(before["session_token"])
    assert [int(token[:4]) for token in tokens] == list(range(300 - len(tokens), 300))
    assert 120 < len(tokens) < 135
