"""What each kind of notifier is sent, in the shape that its receiver documents."""

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
from tailrace.monitors.evaluate import Action
from tailrace.monitors.notifier import Notifier
from tailrace.monitors.template import shown

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
OPSGENIE_URLS = {False: "https://api.opsgenie.com/v2/alerts", True: "https://api.eu.opsgenie.com/v2/alerts"}
MAX_DISCORD_LENGTH = 2_000  # characters of a message, Discord's limit
MAX_SLACK_LENGTH = 40_000  # characters, past which Slack cuts
MAX_SUMMARY_LENGTH = 1_024  # characters, PagerDuty's limit
MAX_OPSGENIE_MESSAGE_LENGTH = 130  # characters, Opsgenie's limit
MAX_OPSGENIE_TEXT_LENGTH = 15_000  # characters, Opsgenie's limit
MAX_TEAMS_LENGTH = 20_000  # characters; Teams takes 28 KB in all


class Message(Struct, frozen=True, kw_only=True):
    """A notice with all that a receiver may want to know. Times are Unix nanoseconds."""

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
    """A POST that delivers a message."""

    url: str
    body: bytes
    headers: dict[str, str]


class NotDelivered(Exception):
    """A message that is not sent, and why; nothing is wrong with it."""


def http_call(notifier: Notifier, message: Message) -> HttpCall:
    """Return the POST of a message. Raise NotDelivered for a kind that is kept only, BadRequest where a template
    breaks.
    """
    of = notifier.properties
    match notifier.kind:
        case "webhook":
            return _json(of["url"], _event(message))
        case "customWebhook":
            return _custom(of, message)
        case "slack":
            return _json(of["slackUrl"], {"text": _escaped_for_slack(_text(message))[:MAX_SLACK_LENGTH]})
        case "discordWebhook":
            # Without mentions: what an event says must not call up a whole server.
            content = {"content": _text(message)[:MAX_DISCORD_LENGTH], "allowed_mentions": {"parse": []}}
            return _json(of["discordWebhookUrl"], content)
        case "microsoftTeams":
            return _json(of["microsoftTeamsUrl"], _adaptive_card(message))
        case "pagerduty":
            return _pagerduty(of, message)
        case "opsgenie":
            return _opsgenie(of, message)
    raise NotDelivered(f"notifiers of the kind {notifier.kind} are kept, but this server does not deliver them")


def email(notifier: Notifier, message: Message, sender: str) -> EmailMessage:
    """Return the mail of a message."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = ", ".join(notifier.properties["emails"])
    mail["Subject"] = " ".join(_headline(message).split())
    mail["Date"] = format_datetime(_datetime(message.at_ns))
    mail["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2].rstrip("> ") or None)
    mail["Auto-Submitted"] = "auto-generated"
    lines = [message.body, ""]
    if message.description:
        lines += [message.description, ""]
    lines += [
        f"Monitor: {message.title} ({message.monitor_id})",
        f"Time: {rfc3339(message.at_ns)}",
        f"Data: {rfc3339(message.start_ns)} to {rfc3339(message.end_ns)}",
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


def _event(message: Message) -> dict[str, Any]:
    """Return the body that Axiom's default template makes."""
    return {
        "action": message.action,
        "event": {
            "monitorID": message.monitor_id,
            "body": message.body,
            "description": message.description,
            "queryEndTime": go_time(message.end_ns),
            "queryStartTime": go_time(message.start_ns),
            "timestamp": go_time(message.at_ns // 1_000_000_000 * 1_000_000_000),
            "title": message.title,
            "value": _number(message.value),
            "matchedEvent": message.event,
        },
    }


def _variables(message: Message) -> dict[str, Any]:
    """Return what a template may name, as Axiom's page on custom webhooks lists it."""
    event = _event(message)["event"]
    return {
        "Action": message.action,
        "MonitorID": event["monitorID"],
        "Body": event["body"],
        "Description": event["description"],
        "QueryEndTime": event["queryEndTime"],
        "QueryStartTime": event["queryStartTime"],
        "Timestamp": event["timestamp"],
        "Title": event["title"],
        "Value": event["value"],
        "MatchedEvent": event["matchedEvent"],
        "GroupKeys": [name for name, _ in message.labels],
        "GroupValues": [value for _, value in message.labels],
    }


def _custom(of: Mapping[str, Any], message: Message) -> HttpCall:
    headers = {"Content-Type": "application/json"}
    for given in (of.get("headers") or {}, of.get("secretHeaders") or {}):
        for name, value in given.items():
            headers = {each: kept for each, kept in headers.items() if each.lower() != name.lower()}
            headers[name] = value
    if not of.get("body"):
        return HttpCall(of["url"], _encoded(_event(message)), headers)
    text = template.render(template.parse(of["body"]), _variables(message))
    return HttpCall(of["url"], text.encode(), headers)


def _pagerduty(of: Mapping[str, Any], message: Message) -> HttpCall:
    """Events API v2: https://developer.pagerduty.com/docs/events-api-v2/overview/"""
    body: dict[str, Any] = {"routing_key": of["routingKey"], "dedup_key": _incident(message)}
    if message.action == "Closed":
        return _json(PAGERDUTY_URL, body | {"event_action": "resolve"})
    payload = {
        "summary": _headline(message)[:MAX_SUMMARY_LENGTH],
        "source": message.monitor_id,
        "severity": "error",
        "timestamp": rfc3339(message.at_ns),
        "custom_details": _event(message)["event"],
    }
    return _json(PAGERDUTY_URL, body | {"event_action": "trigger", "payload": payload})


def _opsgenie(of: Mapping[str, Any], message: Message) -> HttpCall:
    """Alert API: https://docs.opsgenie.com/docs/alert-api"""
    url = OPSGENIE_URLS[bool(of.get("isEU"))]
    headers = {"Authorization": f"GenieKey {of['apiKey']}"}
    alias = _incident(message)
    if message.action == "Closed":
        call = _json(f"{url}/{quote(alias, safe='')}/close?identifierType=alias", {"note": message.body})
    else:
        content = {
            "message": _headline(message)[:MAX_OPSGENIE_MESSAGE_LENGTH],
            "alias": alias,
            "description": f"{message.body}\n\n{message.description}".strip()[:MAX_OPSGENIE_TEXT_LENGTH],
            "source": "tailrace",
        }
        call = _json(url, content)
    return HttpCall(call.url, call.body, {**call.headers, **headers})


def _incident(message: Message) -> str:
    """By which a receiver knows that an end belongs to a beginning: one for each event matched, else the monitor's.

    Raise NotDelivered for the end of an alert while another of the monitor is open.
    """
    if message.event is not None:
        return f"{message.monitor_id}/{message.check_id}"
    if message.action == "Closed" and message.still_open:
        raise NotDelivered(f"the incident stays open: {message.still_open} other groups are alerting")
    return message.monitor_id


def _adaptive_card(message: Message) -> dict[str, Any]:
    """Return a message of an incoming webhook:
    https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/
    """
    blocks = [
        {"type": "TextBlock", "size": "Medium", "weight": "Bolder", "wrap": True, "text": _headline(message)[:1000]},
        {"type": "TextBlock", "wrap": True, "text": message.body[:MAX_TEAMS_LENGTH]},
    ]
    if message.description:
        blocks.append({"type": "TextBlock", "wrap": True, "isSubtle": True, "text": message.description[:5_000]})
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": blocks,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _headline(message: Message) -> str:
    return f"[{'Triggered' if message.action == 'Open' else 'Resolved'}] {message.title}"


def _text(message: Message) -> str:
    parts = [_headline(message), message.body, message.description]
    return "\n".join(part for part in parts if part)


def _escaped_for_slack(text: str) -> str:
    """Slack's three control characters: https://api.slack.com/reference/surfaces/formatting#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _json(url: str, content: Mapping[str, Any]) -> HttpCall:
    return HttpCall(url, _encoded(content), {"Content-Type": "application/json"})


def _encoded(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def _number(value: float | None) -> int | float | None:
    """As JSON has it, whole numbers without a fraction."""
    return None if value is None else json.loads(shown(value))


def _datetime(time_ns: int) -> datetime:
    return datetime.fromtimestamp(time_ns // 1_000_000_000, UTC)
