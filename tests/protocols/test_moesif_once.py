"""An event with a transaction_id is stored once in a window of time, whichever way it comes again."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from support.moesif import Application, call
from support.waiting import wait_until

if TYPE_CHECKING:
    from conftest import MakeServer, Server


@pytest.fixture
def application(server: "Server") -> Application:
    return Application(server)


def fresh(count: int) -> list[str]:
    return sorted(str(uuid.uuid4()) for _ in range(count))


def calls(ids: list[str], **more: Any) -> list[dict[str, Any]]:
    return [call(transaction_id=each, **more) for each in ids]


def accepts(application: Application, events: list[dict[str, Any]], path: str = "/v1/events/batch") -> None:
    answer = application.post(path, events)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"accepted": len(events), "rejected": []}


def test_within_a_batch_the_first_is_stored(application: Application) -> None:
    ids = fresh(3)
    events = [*calls(ids, user_id="first"), *calls(ids[1:], user_id="second"), call()]
    accepts(application, events)

    assert application.ids() == ids
    assert application.count() == 4
    assert {row.get("user_id") for row in application.stored()} == {"first", None}


def test_across_batches_and_routes(application: Application) -> None:
    ids = fresh(20)
    accepts(application, calls(ids[:10]))
    accepts(application, calls(ids[5:]))
    accepts(application, calls(ids[::-1]))
    action = {"action_name": "a", "request": {"uri": "/"}}
    assert application.post("/v1/actions", {**action, "transaction_id": ids[0]}).status_code == 201
    assert application.post("/moesifapi/events", call(transaction_id=ids[1])).status_code == 201

    assert application.ids() == ids
    assert application.count() == 20


def test_events_without_an_id_or_with_an_empty_one_are_all_stored(application: Application) -> None:
    accepts(application, [call(), call(), call(transaction_id=None), call(transaction_id=""), call(transaction_id="")])

    assert application.count() == 5


def test_an_id_that_is_a_number_is_one(application: Application) -> None:
    accepts(application, [call(transaction_id=7), call(transaction_id="7")])

    assert application.ids() == ["7"]


def test_the_id_of_the_logged_headers_is_not_the_event_s(application: Application) -> None:
    event = call()
    event["response"]["headers"] = {"x-moesif-transaction-id": "reused"}
    accepts(application, [event, event])

    assert application.count() == 2


def test_an_event_that_is_refused_does_not_take_its_id(application: Application) -> None:
    [each] = fresh(1)
    answer = application.post("/v1/events/batch", [{"transaction_id": each}, call(transaction_id=each)])

    assert answer.json()["accepted"] == 1
    assert application.ids() == [each]


def test_many_at_once_store_one(application: Application) -> None:
    ids = fresh(30)

    def send(number: int) -> int:
        chosen = ids[number % 3 :: 3] + ids[:10]
        return application.post("/v1/events/batch", calls(chosen)).status_code

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(send, range(64))) == {201}
    assert application.ids() == ids
    assert application.count() == 30


@pytest.mark.parametrize("options", [(), ("--commit-age-s=0.1",)], ids=["in the log", "in the table"])
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_after_a_restart(make_server: "MakeServer", end: str, options: tuple[str, ...]) -> None:
    running = make_server(*options).start()
    application = Application(running)
    ids = fresh(50)
    accepts(application, calls(ids))
    if options:
        wait_until(lambda: any((running.data / "lake" / application.dataset).glob("_day=*/*.parquet")))
    getattr(running, end)()
    running.start()
    more = fresh(5)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda n: application.post("/v1/events/batch", calls(ids + more)).status_code, range(8))
        assert set(answers) == {201}

    assert application.ids() == sorted(ids + more)


def test_limits_of_queries_do_not_limit_which_ids_are_known_after_a_restart(make_server: "MakeServer") -> None:
    running = make_server("--query-max-rows=5", "--query-max-bytes=1MiB").start()
    application = Application(running)
    ids = fresh(50)
    accepts(application, calls(ids))
    running.kill()
    running.start()
    accepts(application, calls(ids))

    assert application.count() == 50


def test_after_the_window_it_is_stored_again(make_server: "MakeServer") -> None:
    application = Application(make_server("--moesif-window-s=1").start())
    accepts(application, calls(["a", "a"]))
    assert application.count() == 1

    def again() -> bool:
        accepts(application, calls(["a"]))
        return application.count() == 2

    wait_until(again)


def test_a_window_of_nothing_stores_everything(make_server: "MakeServer") -> None:
    application = Application(make_server("--moesif-window-s=0").start())
    accepts(application, calls(["a", "a"]))

    assert application.count() == 2


def test_a_dataset_made_anew_knows_nothing_of_the_one_before(server: "Server") -> None:
    application = Application(server)
    accepts(application, calls(["a"]))
    assert server.client.delete(f"/v2/datasets/{application.dataset}").status_code in (200, 204)
    server.create(application.dataset)
    accepts(application, calls(["a"]))

    assert application.ids() == ["a"]


def test_what_another_protocol_stored_in_the_field_does_no_harm(server: "Server") -> None:
    application = Application(server)
    server.ingest(application.dataset, [{"transaction_id": 7}, {"transaction_id": {"a": 1}}, {"transaction_id": "x"}])
    accepts(application, calls(["x", "y"]))

    assert application.count() == 4
