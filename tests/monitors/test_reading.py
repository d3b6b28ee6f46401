"""Monitors and notifiers as clients send them."""

from typing import Any

import pytest

from tailrace.events import BadRequest
from tailrace.monitors import read_monitor, read_notifier

# What Axiom's Go client, and so the Terraform provider, sends.
GO = {
    "createdAt": "0001-01-01T00:00:00Z", "createdBy": "", "name": "Errors", "type": "Threshold",
    "aplQuery": "['d'] | count", "operator": "Above", "threshold": 1.5, "alertOnNoData": True, "notifyByGroup": False,
    "resolvable": False, "notifierIDs": ["a", "a"], "intervalMinutes": 5, "rangeMinutes": 10, "disabled": False,
    "disabledUntil": "0001-01-01T00:00:00Z", "secondDelay": 3, "triggerFromNRuns": 1,
}  # fmt: skip


def test_a_monitor_of_the_go_client_is_read() -> None:
    monitor = read_monitor(GO)

    assert (monitor.name, monitor.apl_query, monitor.operator, monitor.threshold) == (
        "Errors", "['d'] | count", "Above", 1.5
    )  # fmt: skip
    assert (monitor.interval_minutes, monitor.range_minutes, monitor.second_delay) == (5, 10, 3)
    assert (monitor.alert_on_no_data, monitor.disabled_until, monitor.notifier_ids) == (True, None, ("a",))
    assert (monitor.window, monitor.needed) == (1, 1)


def test_names_of_old_clients_are_read_in_any_letter_case() -> None:
    old = {
        "Name": "n", "APLQUERY": "q", "comparison": "aboveorequal", "frequencyMinutes": 2, "DurationMinutes": 4.0,
        "Notifiers": ["x"], "delay": 7, "description": None, "labelsOfMine": {"a": 1},
    }  # fmt: skip
    monitor = read_monitor(old)
    assert (monitor.type, monitor.operator, monitor.interval_minutes, monitor.range_minutes) == (
        "Threshold", "AboveOrEqual", 2, 4
    )  # fmt: skip
    assert (monitor.notifier_ids, monitor.second_delay, monitor.description) == (("x",), 7, "")


def test_what_is_not_given_has_a_default() -> None:
    monitor = read_monitor({"name": "n", "type": "MatchEvent", "aplQuery": "q", "operator": "", "intervalMinutes": 0})
    assert (monitor.interval_minutes, monitor.range_minutes, monitor.operator) == (1, 1, "")
    assert read_monitor(GO | {"rangeMinutes": 0}).range_minutes == 5


@pytest.mark.parametrize(
    ("more", "window", "needed"),
    [
        ({"triggerFromNRuns": 3}, 3, 3),
        ({"triggerAfterNPositiveResults": 2, "triggerFromNRuns": 3}, 3, 2),
        ({"triggerAfterNPositiveResults": 2}, 2, 2),
        ({"triggerFromNRuns": 0}, 1, 1),
    ],
)
def test_n_of_m_runs(more: dict[str, Any], window: int, needed: int) -> None:
    monitor = read_monitor(GO | more)
    assert (monitor.window, monitor.needed) == (window, needed)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"name": " "}, "has a name"),
        ({"name": 5}, "name is 5, but it is a text"),
        ({"type": "Treshold"}, "type is 'Treshold', but it may be Threshold, MatchEvent, AnomalyDetection"),
        ({"aplQuery": ""}, "has an aplQuery"),
        ({"operator": ""}, "operator of a monitor of type Threshold is '', but it may be Below"),
        ({"operator": "AboveOrBelow"}, "operator of a monitor of type Threshold is 'AboveOrBelow'"),
        ({"threshold": "1"}, "threshold is '1', but it is a number"),
        ({"threshold": True}, "threshold is True, but it is a number"),
        ({"intervalMinutes": -1}, "intervalMinutes is -1, but it may be 0 to 527040"),
        ({"intervalMinutes": 1.5}, "intervalMinutes is 1.5, but it is a whole number"),
        ({"secondDelay": 86_401}, "secondDelay is 86401"),
        ({"compareDays": 8}, "compareDays is 8, but it may be 0 to 7"),
        ({"tolerance": 101}, "tolerance is 101"),
        ({"disabled": "no"}, "disabled is 'no', but it is true or false"),
        (
            {"disabledUntil": "soon"},
            "disabledUntil is 'soon', which is no time: it is in no known format; RFC 3339 writes one like",
        ),
        ({"disabledUntil": 5}, "disabledUntil is 5"),
        ({"notifierIDs": "a"}, "notifierIds is 'a', but it is a list of texts"),
        ({"notifierIds": ["b"]}, "notifierIds is given twice"),
        ({"treshold": 5}, "unknown member 'treshold'; did you mean threshold?"),
    ],
)
def test_what_is_no_monitor_is_told(more: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        read_monitor(GO | more)
    assert message in refused.value.message


def notifier(**properties: Any) -> Any:
    return read_notifier({"name": "n", "properties": properties}).properties


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"slack": {"slackUrl": "https://a.example/b"}, "email": None}, {"slackUrl": "https://a.example/b"}),
        ({"email": {"Emails": ["a@example.com"]}}, {"emails": ["a@example.com"]}),
        ({"Opsgenie": {"ApiKey": "k", "IsEU": True}}, {"apiKey": "k", "isEU": True}),
        ({"pagerduty": {"routingKey": "k", "token": ""}}, {"routingKey": "k", "token": ""}),
        (
            {"customWebhook": {"URL": "https://a.example", "Headers": {"A": "b"}, "Body": "{{.Title}}"}},
            {"url": "https://a.example", "headers": {"A": "b"}, "body": "{{.Title}}"},
        ),
        (
            {"customWebhook": {"URL": "http://a.example:8080/x", "Headers": None, "Body": ""}},
            {"url": "http://a.example:8080/x", "body": ""},
        ),
        ({"discord": {"discordChannel": "c", "discordToken": "t"}}, {"discordChannel": "c", "discordToken": "t"}),
        ({"microsoftTeams": {"microsoftTeamsUrl": "https://a.example"}}, {"microsoftTeamsUrl": "https://a.example"}),
    ],
)  # fmt: skip
def test_properties_are_kept_under_their_documented_names(given: dict[str, Any], kept: dict[str, Any]) -> None:
    assert notifier(**given) == kept


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "one of slack, email, discord"),
        ({"sms": {"number": "1"}}, "but these are sms"),
        ({"webhok": {"url": "https://a.example"}}, "did you mean webhook?"),
        ({"webhook": {"url": "https://a.example"}, "email": {"emails": ["a@b.c"]}}, "but these are webhook, email"),
        ({"webhook": "https://a.example"}, "properties.webhook is 'https://a.example', but it is an object"),
        ({"webhook": {}}, "properties.webhook lacks url"),
        ({"webhook": {"url": "file:///etc/passwd"}}, "begins with https:// or http://"),
        ({"webhook": {"url": "https://"}}, "begins with https:// or http://"),
        ({"webhook": {"url": "https://a.example:99999"}}, "begins with https:// or http://"),
        ({"webhook": {"url": "https://a.example/ b"}}, "begins with https:// or http://"),
        ({"email": {"recipients": ["a@b.c"]}}, "unknown member 'recipients' of properties.email; it has emails"),
        ({"email": {"emails": []}}, "properties.email lacks emails"),
        ({"email": {"emails": ["a@b.c\r\nBcc: d@e.f"]}}, "which is no address"),
        ({"customWebhook": {"url": "https://a.example", "body": "{{ if }}"}}, "body, line 1: a value is missing"),
        ({"customWebhook": {"url": "https://a.example", "headers": {"Host": "b"}}}, "only the server may set"),
        ({"customWebhook": {"url": "https://a.example", "headers": {"A b": "c"}}}, "no name of a header"),
        ({"customWebhook": {"url": "https://a.example", "secretHeaders": {"A": "b\r\nC: d"}}}, "value of A"),
        ({"opsgenie": {"apiKey": "k", "isEU": "yes"}}, "isEU is 'yes'"),
        ({"pagerduty": {"routingKey": "k\n"}}, "control character"),
    ],
)
def test_what_is_no_notifier_is_told(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        notifier(**given)
    assert message in refused.value.message


@pytest.mark.parametrize("zero", [None, "", "0001-01-01T00:00:00Z"])
def test_a_zero_time_disables_nothing(zero: str | None) -> None:
    given = {"name": "n", "properties": {"webhook": {"url": "https://a.example"}}, "disabledUntil": zero}
    assert read_notifier(given).disabled_until is None
