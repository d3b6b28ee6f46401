"""Moesif's Python client, unmodified: what it sends comes back, field by field."""

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from moesifapi.exceptions.api_exception import APIException
from moesifapi.models import (
    CampaignModel,
    CompanyModel,
    EventModel,
    EventRequestModel,
    EventResponseModel,
    SubscriptionModel,
    UserModel,
)
from moesifapi.moesif_api_client import Configuration, MoesifAPIClient
from support.events import flat
from support.moesif import Application

if TYPE_CHECKING:
    from conftest import Server

AT = dt.datetime(2026, 8, 16, 9, 21, 56, 998001, tzinfo=dt.UTC)


@pytest.fixture
def application(server: "Server") -> Application:
    return Application(server)


@pytest.fixture
def api(application: Application) -> Any:
    Configuration.BASE_URI = application.server.url
    return MoesifAPIClient(application.key).api


def event(number: int, **more: Any) -> EventModel:
    return EventModel(
        request=EventRequestModel(
            time=AT + dt.timedelta(seconds=number),
            uri=f"https://api.example.com/items/{number}?full=1",
            verb="PATCH",
            headers={"Accept": "application/json", "X-Number": str(number)},
            ip_address="203.0.113.9",
            api_version="1.2",
            body={"n": number, "tags": ["a", number]},
        ),
        response=EventResponseModel(
            time=AT + dt.timedelta(seconds=number, milliseconds=3),
            status=200 + number,
            headers={"Content-Type": "application/json"},
            body={"ok": True, "price": 2.5},
        ),
        user_id=f"u{number}",
        company_id="c1",
        session_token="token",
        metadata={"deep": {"er": number}},
        direction="Incoming",
        weight=1,
        **more,
    )


def expected(number: int, transaction_id: str) -> dict[str, Any]:
    return flat(
        {
            "event_type": "api_call",
            "request": {
                "time": (AT + dt.timedelta(seconds=number)).isoformat(),
                "uri": f"https://api.example.com/items/{number}?full=1",
                "verb": "PATCH",
                "headers": {"Accept": "application/json", "X-Number": str(number)},
                "ip_address": "203.0.113.9",
                "api_version": "1.2",
                "body": {"n": number, "tags": ["a", number]},
            },
            "response": {
                "time": (AT + dt.timedelta(seconds=number, milliseconds=3)).isoformat(),
                "status": 200 + number,
                "headers": {"Content-Type": "application/json"},
                "body": {"ok": True, "price": 2.5},
            },
            "user_id": f"u{number}",
            "company_id": "c1",
            "session_token": "token",
            "metadata": {"deep": {"er": number}},
            "direction": "Incoming",
            "weight": 1,
            "transaction_id": transaction_id,
        }
    )


def test_a_single_event(api: Any, application: Application) -> None:
    sent = event(1)
    answer = api.create_event(sent)

    assert answer["X-Moesif-Config-ETag"] == application.get("/v1/config").headers["X-Moesif-Config-ETag"]
    [stored] = application.stored(times=True)
    assert stored.pop("_time") == "2026-08-16T09:21:57.998001Z"
    assert stored == expected(1, sent.transaction_id)


def test_a_batch_and_the_same_batch_again(api: Any, application: Application) -> None:
    events = [event(number) for number in range(20)]
    api.create_events_batch(events)
    api.create_events_batch(events)

    stored = application.stored(order='"response.status"')
    assert stored == [expected(number, each.transaction_id) for number, each in enumerate(events)]


def test_an_event_of_which_only_what_is_needed_is_set(api: Any, application: Application) -> None:
    request = EventRequestModel(time=AT.replace(tzinfo=None), uri="https://a.example.com/b", verb="GET")
    sent = EventModel(request=request)
    api.create_event(sent)

    [stored] = application.stored(times=True)
    assert stored == {
        "_time": "2026-08-16T09:21:56.998001Z",  # a time without a zone is in UTC
        "event_type": "api_call",
        "request.time": "2026-08-16T09:21:56.998001",
        "request.uri": "https://a.example.com/b",
        "request.verb": "GET",
        "request.ip_address": "127.0.0.1",
        "transaction_id": sent.transaction_id,
    }


def test_users_companies_and_subscriptions(api: Any, application: Application) -> None:
    user = UserModel(
        user_id="u1",
        company_id="c1",
        modified_time=AT,
        session_token="first",
        metadata={"email": "a@example.com", "address": {"city": "Rome", "zip": "1"}},
        campaign=CampaignModel(utm_source="news"),
    )
    api.update_user(user)
    api.update_users_batch(
        [
            UserModel(user_id="u1", session_token="second", metadata={"address": {"zip": "2"}}),
            UserModel(user_id="u2", ip_address="203.0.113.9"),
        ]
    )
    api.update_company(CompanyModel(company_id="c1", company_domain="example.com", metadata={"plan": "free"}))
    api.update_companies_batch([CompanyModel(company_id="c1", metadata={"plan": "paid"})])
    subscription = SubscriptionModel(subscription_id="s1", company_id="c1", status="active", current_period_start=AT)
    api.update_subscription(subscription)
    api.update_subscriptions_batch([SubscriptionModel(subscription_id="s1", company_id="c1", status="paused")])

    assert application.stored("users", "user_id") == [
        flat(
            {
                "_id": "u1",
                "_revision": 2,
                "user_id": "u1",
                "company_id": "c1",
                "modified_time": AT.isoformat(),
                "session_token": ["first", "second"],
                "metadata": {"email": "a@example.com", "address": {"city": "Rome", "zip": "2"}},
                "campaign": {"utm_source": "news"},
            }
        ),
        flat({"_id": "u2", "_revision": 1, "user_id": "u2", "ip_address": "203.0.113.9"}),
    ]
    assert application.stored("companies") == [
        flat(
            {
                "_id": "c1",
                "_revision": 2,
                "company_id": "c1",
                "company_domain": "example.com",
                "metadata": {"plan": "paid"},
            }
        )
    ]
    assert application.stored("subscriptions") == [
        flat(
            {
                "_id": "s1",
                "_revision": 2,
                "subscription_id": "s1",
                "company_id": "c1",
                "status": "paused",
                "current_period_start": AT.isoformat(),
            }
        )
    ]


def test_configuration_and_rules(api: Any) -> None:
    config = api.get_app_config()
    assert config.status_code == 200
    assert '"sample_rate":100' in config.raw_body
    assert api.get_governance_rules().raw_body == "[]"


def test_a_wrong_application_id_is_an_error(server: "Server") -> None:
    Configuration.BASE_URI = server.url
    api = MoesifAPIClient("x" * 60).api

    with pytest.raises(APIException) as refused:
        api.create_event(event(1))
    assert refused.value.response_code == 401
