"""Notifications, and the requests and mails that deliver them to each kind of notifier."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from tailrace.events.times import rfc3339
from tailrace.monitors import template
from tailrace.monitors.evaluation import Action
from tailrace.monitors.notifier import Notifier
from tailrace.monitors.template_functions import as_text

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
OPSGENIE_URLS = {False: "https://api.opsgenie.com/v2/alerts", True: "https://api.eu.opsgenie.com/v2/alerts"}
MAX_DISCORD_LENGTH = 2_000  # characters of a notification, Discord's limit
MAX_SLACK_LENGTH = 40_000  # characters, past which Slack cuts
MAX_SUMMARY_LENGTH = 1_024  # characters, PagerDuty's limit
MAX_OPSGENIE_MESSAGE_LENGTH = 130  # characters, Opsgenie's limit
MAX_OPSGENIE_TEXT_LENGTH = 15_000  # characters, Opsgenie's limit
MAX_TEAMS_LENGTH = 20_000  # characters; Teams takes 28 KB in all


class Notification(Struct, frozen=True, kw_only=True):
    """A notification of one monitor. Times are Unix nanoseconds."""

    monitor_id: str
    title: str  # the name of the monitor
    description: str
    action: Action
    body: str
    value: float | None
    event: dict[str, Any] | None
    start_ns: int  # of the time that the query was about
    end_ns: int
    at_ns: int
    check_id: str
    still_open: int = 0
    labels: tuple[tuple[str, str], ...] = ()  # names and values of the group that the value is of


class HttpCall(Struct, frozen=True):
    """A POST that delivers a notification."""

    url: str
    body: bytes
    headers: dict[str, str]


class DeliveryFailed(Exception):
    """A notification was not delivered; `retryable` tells whether another attempt may help."""

    def __init__(self, reason: str, *, retryable: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retryable = retryable


class NotDelivered(Exception):
    """A notification that is not to be delivered, and why."""


def http_call(notifier: Notifier, notification: Notification) -> HttpCall:
    """Return the POST of a notification. Raise NotDelivered for a kind that is only stored, BadRequest for a template
    that cannot be rendered.
    """
    properties = notifier.properties
    match notifier.kind:
        case "webhook":
            return _json_call(properties["url"], _webhook_body(notification))
        case "customWebhook":
            return _custom_webhook(properties, notification)
        case "slack":
            return _json_call(
                properties["slackUrl"], {"text": _escaped_for_slack(_text(notification))[:MAX_SLACK_LENGTH]}
            )
        case "discordWebhook":
            # Without mentions: what an event says must not call up a whole server.
            content = {"content": _text(notification)[:MAX_DISCORD_LENGTH], "allowed_mentions": {"parse": []}}
            return _json_call(properties["discordWebhookUrl"], content)
        case "microsoftTeams":
            return _json_call(properties["microsoftTeamsUrl"], _adaptive_card(notification))
        case "pagerduty":
            return _pagerduty(properties, notification)
        case "opsgenie":
            return _opsgenie(properties, notification)
    raise NotDelivered(f"notifiers of the kind {notifier.kind} are kept, but this server does not deliver them")


def email(notifier: Notifier, notification: Notification, sender: str) -> EmailMessage:
    """Return the mail of a notification."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = ", ".join(notifier.properties["emails"])
    mail["Subject"] = " ".join(_headline(notification).split())
    mail["Date"] = format_datetime(_datetime(notification.at_ns))
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].rstrip("> ") or None)
    mail["Auto-Submitted"] = "auto-generated"
    lines = [notification.body, ""]
    if notification.description:
        lines += [notification.description, ""]
    lines += [
        f"Monitor: {notification.title} ({notification.monitor_id})",
        f"Time: {rfc3339(notification.at_ns)}",
        f"Data: {rfc3339(notification.start_ns)} to {rfc3339(notification.end_ns)}",
    ]
    mail.set_content("\n".join(lines))
    return mail


def go_time(time_ns: int) -> str:
    """Return a time as Go prints it, which is how Axiom's default template has it: `2024-06-28 14:55:57.631 +0000
    UTC`.
    """
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return text + (f".{fraction:09}".rstrip("0") if fraction else "") + " +0000 UTC"


def _webhook_body(notification: Notification) -> dict[str, Any]:
    """Return the body that Axiom's default template makes."""
    return {
        "action": notification.action,
        "event": {
            "monitorID": notification.monitor_id,
            "body": notification.body,
            "description": notification.description,
            "queryEndTime": go_time(notification.end_ns),
            "queryStartTime": go_time(notification.start_ns),
            "timestamp": go_time(notification.at_ns // 1_000_000_000 * 1_000_000_000),
            "title": notification.title,
            "value": _json_number(notification.value),
            "matchedEvent": notification.event,
        },
    }


def _variables(notification: Notification) -> dict[str, Any]:
    """Return what a template may name, as Axiom's page on custom webhooks lists it."""
    event = _webhook_body(notification)["event"]
    return {
        "Action": notification.action,
        "MonitorID": event["monitorID"],
        "Body": event["body"],
        "Description": event["description"],
        "QueryEndTime": event["queryEndTime"],
        "QueryStartTime": event["queryStartTime"],
        "Timestamp": event["timestamp"],
        "Title": event["title"],
        "Value": event["value"],
        "MatchedEvent": event["matchedEvent"],
        "GroupKeys": [name for name, _ in notification.labels],
        "GroupValues": [value for _, value in notification.labels],
    }


def _custom_webhook(properties: Mapping[str, Any], notification: Notification) -> HttpCall:
    headers = {"Content-Type": "application/json"}
    for given in (properties.get("headers") or {}, properties.get("secretHeaders") or {}):
        for name, value in given.items():
            headers = {other: text for other, text in headers.items() if other.lower() != name.lower()}
            headers[name] = value
    if not properties.get("body"):
        return HttpCall(properties["url"], _json_bytes(_webhook_body(notification)), headers)
    text = template.render(template.parse(properties["body"]), _variables(notification))
    return HttpCall(properties["url"], text.encode(), headers)


def _pagerduty(properties: Mapping[str, Any], notification: Notification) -> HttpCall:
    """Use the Events API v2: https://developer.pagerduty.com/docs/events-api-v2/overview/"""
    body: dict[str, Any] = {"routing_key": properties["routingKey"], "dedup_key": _incident_key(notification)}
    if notification.action == "Closed":
        return _json_call(PAGERDUTY_URL, body | {"event_action": "resolve"})
    payload = {
        "summary": _headline(notification)[:MAX_SUMMARY_LENGTH],
        "source": notification.monitor_id,
        "severity": "error",
        "timestamp": rfc3339(notification.at_ns),
        "custom_details": _webhook_body(notification)["event"],
    }
    return _json_call(PAGERDUTY_URL, body | {"event_action": "trigger", "payload": payload})


def _opsgenie(properties: Mapping[str, Any], notification: Notification) -> HttpCall:
    """Alert API: https://docs.opsgenie.com/docs/alert-api"""
    url = OPSGENIE_URLS[bool(properties.get("isEU"))]
    headers = {"Authorization": f"GenieKey {properties['apiKey']}"}
    alias = _incident_key(notification)
    if notification.action == "Closed":
        call = _json_call(f"{url}/{quote(alias, safe='')}/close?identifierType=alias", {"note": notification.body})
    else:
        content = {
            "message": _headline(notification)[:MAX_OPSGENIE_MESSAGE_LENGTH],
            "alias": alias,
            "description": f"{notification.body}\n\n{notification.description}".strip()[:MAX_OPSGENIE_TEXT_LENGTH],
            "source": "tailrace",
        }
        call = _json_call(url, content)
    return HttpCall(call.url, call.body, {**call.headers, **headers})


def _incident_key(notification: Notification) -> str:
    """By which a receiver knows that an end belongs to a beginning: one for each event matched, else the monitor's.

    Raise NotDelivered for the end of an alert while another of the monitor is open.
    """
    if notification.event is not None:
        return f"{notification.monitor_id}/{notification.check_id}"
    if notification.action == "Closed" and notification.still_open:
        raise NotDelivered(f"the incident stays open: {notification.still_open} other groups are alerting")
    return notification.monitor_id


def _adaptive_card(notification: Notification) -> dict[str, Any]:
    """Return a notification of an incoming webhook:
    https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/
    """
    blocks = [
        {
            "type": "TextBlock",
            "size": "Medium",
            "weight": "Bolder",
            "wrap": True,
            "text": _headline(notification)[:1000],
        },
        {"type": "TextBlock", "wrap": True, "text": notification.body[:MAX_TEAMS_LENGTH]},
    ]
    if notification.description:
        blocks.append({"type": "TextBlock", "wrap": True, "isSubtle": True, "text": notification.description[:5_000]})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _headline(notification: Notification) -> str:
    return f"[{'Triggered' if notification.action == 'Open' else 'Resolved'}] {notification.title}"


def _text(notification: Notification) -> str:
    parts = [_headline(notification), notification.body, notification.description]
    return "\n".join(part for part in parts if part)


def _escaped_for_slack(text: str) -> str:
    """Escape Slack's three control characters: https://api.slack.com/reference/surfaces/formatting#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json_call(url: str, content: Mapping[str, Any]) -> HttpCall:
    return HttpCall(url, _json_bytes(content), {"Content-Type": "application/json"})


def _json_bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _json_number(value: float | None) -> int | float | None:
    """Write a number as JSON has it, whole numbers without a fraction."""
    return None if value is None else json.loads(as_text(value))


def _datetime(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
