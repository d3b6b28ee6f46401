"""What each kind of notifier is sent."""

import json
from typing import Any

import pytest

from tailrace.monitors import read_notifier
from tailrace.monitors.notifications import NotDelivered, Notification, email, go_time, http_call

AT = 1_719_586_557_631_364_493  # 2024-06-28T14:55:57.631364493Z


def message(**more: Any) -> Notification:
    made: dict[str, Any] = {
        "monitor_id": "mon_1", "title": "Errors", "description": "", "action": "Open", "body": "2 > 1", "value": 2.0,
        "event": None, "start_ns": AT - 600_000_000_000, "end_ns": AT, "at_ns": AT, "check_id": "c1",
    }  # fmt: skip
    return Notification(**(made | more))


def sent(kind: str, of: dict[str, Any], **more: Any) -> tuple[str, Any, dict[str, str]]:
    call = http_call(read_notifier({"name": "n", "properties": {kind: of}}), message(**more))
    return call.url, json.loads(call.body), call.headers


def test_a_webhook_gets_what_axioms_default_template_makes() -> None:
    url, body, headers = sent("webhook", {"url": "https://example.com/x"})

    assert (url, headers) == ("https://example.com/x", {"Content-Type": "application/json"})
    assert body == {
        "action": "Open",
        "event": {
            "monitorID": "mon_1",
            "body": "2 > 1",
            "description": "",
            "queryEndTime": "2024-06-28 14:55:57.631364493 +0000 UTC",
            "queryStartTime": "2024-06-28 14:45:57.631364493 +0000 UTC",
            "timestamp": "2024-06-28 14:55:57 +0000 UTC",
            "title": "Errors",
            "value": 2,
            "matchedEvent": None,
        },
    }
    assert sent("customWebhook", {"url": "https://example.com/x"})[1] == body
    assert go_time(1_000_000_000) == "1970-01-01 00:00:01 +0000 UTC"


def test_a_template_may_name_the_group_that_alerts() -> None:
    body = """{"group": "{{ range .GroupKeys }}{{ . }}{{ end }}", "matchedEvent": {{jsonObject .MatchedEvent}},
        "groupKeys": {{jsonArray .GroupKeys}}, "groupValues": {{jsonArray .GroupValues}}}"""
    of = {"url": "https://example.com/", "body": body}

    assert sent("customWebhook", of, labels=(("host", 'a"b'), ("status", "500")))[1] == {
        "group": "hoststatus", "matchedEvent": None, "groupKeys": ["host", "status"], "groupValues": ['a"b', "500"]
    }  # fmt: skip
    assert sent("customWebhook", of)[1] == {"group": "", "matchedEvent": None, "groupKeys": [], "groupValues": []}


def test_a_custom_webhook_gets_its_own_template_and_headers() -> None:
    template = """{
      "title": "{{.Title}}", "description": "{{.Body}}", "deduplication_key": "{{.MonitorID}}",
      "status": "{{ if eq .Action "Open" }}firing{{ else }}resolved{{ end }}",
      "metadata": {"description": "{{.Description}}", "value": {{.Value}}, "event": {{.MatchedEvent}}}
    }"""  # as in Axiom's page on custom webhooks
    of = {
        "url": "https://example.com/",
        "headers": {"content-type": "application/vnd.x+json", "X-One": "1"},
        "secretHeaders": {"Authorization": "Bearer s", "x-one": "2"},
        "body": template,
    }
    _, body, headers = sent("customWebhook", of, body='it\'s "quoted"', action="Closed", event={"a": 1}, value=None)

    assert body == {
        "title": "Errors",
        "description": 'it\'s "quoted"',
        "deduplication_key": "mon_1",
        "status": "resolved",
        "metadata": {"description": "", "value": None, "event": {"a": 1}},
    }
    assert headers == {"content-type": "application/vnd.x+json", "Authorization": "Bearer s", "x-one": "2"}


def test_slack_discord_and_teams_get_their_own_shapes() -> None:
    url = "https://hooks.example.com/x"
    text = "[Triggered] Errors\n2 > 1"
    assert sent("slack", {"slackUrl": url})[1] == {"text": text.replace(">", "&gt;")}
    discord = sent("discordWebhook", {"discordWebhookUrl": url}, body="x" * 3000)[1]
    assert (len(discord["content"]), discord["allowed_mentions"]) == (2000, {"parse": []})
    teams = sent("microsoftTeams", {"microsoftTeamsUrl": url}, description="why")[1]
    card = teams["attachments"][0]["content"]
    assert (teams["type"], card["type"]) == ("message", "AdaptiveCard")
    assert [block["text"] for block in card["body"]] == ["[Triggered] Errors", "2 > 1", "why"]


def test_pagerduty_opens_and_resolves_one_incident() -> None:
    url, opened, _ = sent("pagerduty", {"routingKey": "k", "token": "t"})
    closed = sent("pagerduty", {"routingKey": "k"}, action="Closed")[1]

    assert url == "https://events.pagerduty.com/v2/enqueue"
    assert (opened["routing_key"], opened["event_action"], opened["dedup_key"]) == ("k", "trigger", "mon_1")
    assert (opened["payload"]["summary"], opened["payload"]["severity"]) == ("[Triggered] Errors", "error")
    assert closed == {"routing_key": "k", "event_action": "resolve", "dedup_key": "mon_1"}
    with pytest.raises(NotDelivered, match="2 other groups"):
        sent("pagerduty", {"routingKey": "k"}, action="Closed", still_open=2)


def test_each_matching_event_is_an_incident_of_its_own() -> None:
    assert sent("pagerduty", {"routingKey": "k"}, event={"a": 1})[1]["dedup_key"] == "mon_1/c1"


def test_opsgenie_creates_and_closes_one_alert() -> None:
    url, opened, headers = sent("opsgenie", {"apiKey": "k", "isEU": True}, description="why")
    closed, note, _ = sent("opsgenie", {"apiKey": "k"}, action="Closed")

    assert (url, headers["Authorization"]) == ("https://api.eu.opsgenie.com/v2/alerts", "GenieKey k")
    assert (opened["message"], opened["alias"], opened["description"]) == (
        "[Triggered] Errors",
        "mon_1",
        "2 > 1\n\nwhy",
    )
    assert closed == "https://api.opsgenie.com/v2/alerts/mon_1/close?identifierType=alias"
    assert note == {"note": "2 > 1"}


def test_a_kind_that_is_only_kept_says_so() -> None:
    with pytest.raises(NotDelivered, match="kind discord are kept"):
        sent("discord", {"discordChannel": "c", "discordToken": "t"})


def test_a_mail_says_what_happened_and_no_text_gets_into_its_headers() -> None:
    notifier = read_notifier({"name": "n", "properties": {"email": {"emails": ["a@example.com", "b@example.com"]}}})
    made = email(notifier, message(title="Errors\r\nBcc: evil@example.com", description="why"), "T <t@example.com>")

    assert made["To"] == "a@example.com, b@example.com"
    assert made["Subject"] == "[Triggered] Errors Bcc: evil@example.com"
    assert made["Bcc"] is None
    assert made["Message-ID"].endswith("@example.com>")
    content = made.get_content()
    assert "2 > 1\n\nwhy\n" in content
    assert "Data: 2024-06-28T14:45:57.631364493Z to 2024-06-28T14:55:57.631364493Z" in content
