"""Seeded events to measure with: API logs, and events as a Bluesky relay sends them."""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

TEMPLATES = 4096  # distinct events; times, identifiers and measurements differ in every event made of them
DIDS = 20_000
HALVES = 4096  # halves of content identifiers, joined at random
START_US = int(datetime(2026, 3, 2, 6, tzinfo=UTC).timestamp()) * 1_000_000
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
BASE32_SORTED = "234567abcdefghijklmnopqrstuvwxyz"
TEXT = (
    "the a of to and in is it that this was for on with as but not be at by from have or an they one all we can more "
    "if so what about time just like now people know good really today new love day think back see still make work "
    "right sky blue morning coffee cat photo music game night year world happy great thanks read book way made much"
)
WORDS = TEXT.split()

Slots = Mapping[bytes, bytes]


class Generator(Struct, frozen=True):
    """A kind of events."""

    name: str
    dataset: str
    time_field: str  # at the top of an event
    templates: Callable[[random.Random], list[bytes]]  # formats with the slots' names
    slots: Callable[[random.Random], Iterator[Slots]]  # without end, one an event

    def events(self, seed: int) -> Iterator[bytes]:
        """Yield events without end, each one line of JSON without its newline; the same for the same seed."""
        source = random.Random(f"{self.name} {seed}")
        templates = self.templates(source)
        for slots in self.slots(source):
            yield templates[int(source.random() * len(templates))] % slots

    def bodies(self, seed: int, *, count: int, body_bytes: int) -> list[bytes]:
        """NDJSON bodies of whole events, each of at least `body_bytes` and less than one event more."""
        events = self.events(seed)
        bodies = []
        for _ in range(count):
            lines: list[bytes] = []
            size = 0
            while size < body_bytes:
                line = next(events)
                lines.append(line)
                size += len(line) + 1
            lines.append(b"")
            bodies.append(b"\n".join(lines))
        return bodies


def _template(event: dict[str, Any]) -> bytes:
    """Return the event as a format: text `<name>` becomes the slot of that name, text `<<name>>` one without quotes."""
    text = msgspec.json.encode(event).replace(b"%", b"%%")
    text = text.replace(b'"<<', b"%(").replace(b'>>"', b")b")
    return text.replace(b"<", b"%(").replace(b">", b")b")


# API logs.

ROUTES = (
    ("GET", "/v1/orders/{}"), ("GET", "/v1/users/{}"), ("GET", "/v1/products/{}/reviews"), ("POST", "/v1/orders"),
    ("POST", "/v1/carts/{}/items"), ("PUT", "/v1/users/{}"), ("DELETE", "/v1/carts/{}"), ("GET", "/v1/search"),
    ("POST", "/v1/sessions"), ("GET", "/healthz"),
)  # fmt: skip
SERVICES = ("gateway", "checkout", "catalog", "accounts", "search")
STATUSES = (200, 200, 200, 200, 200, 200, 201, 204, 301, 400, 401, 404, 404, 429, 500, 503)
REGIONS = ("eu-west-1", "eu-north-1", "us-east-1", "ap-southeast-2")
TAGS = ("canary", "internal", "mobile", "retry", "cached", "beta")
AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15",
    "okhttp/4.12.0",
    "python-httpx/0.28.1",
)


def _api_templates(source: random.Random) -> list[bytes]:
    return [_template(_api_event(source)) for _ in range(TEMPLATES)]


def _api_event(source: random.Random) -> dict[str, Any]:
    method, route = source.choice(ROUTES)
    status = source.choice(STATUSES)
    path = route.format(source.randrange(1, 100_000))
    event: dict[str, Any] = {
        "_time": "<time>",
        "level": "error" if status >= 500 else "warn" if status >= 400 else "info",
        "message": f"{method} {path} answered {status}",
        "service": source.choice(SERVICES),
        "host": f"{source.choice(REGIONS)}-{source.randrange(40):02}",
        "trace_id": "<trace>",
        "duration_ms": "<<duration>>",
        "status": status,
        "request": {
            "method": method,
            "path": path,
            "bytes": source.randrange(80, 20_000),
            "user_agent": source.choice(AGENTS),
        },
        "user_id": source.randrange(1, 1_000_000),
        "version": f"2.{source.randrange(10, 20)}.0",
        "cached": source.random() < 0.3,
        "tags": source.sample(TAGS, source.randrange(4)),
    }
    if status >= 500:
        event["error"] = {"type": source.choice(("Timeout", "ConnectionReset")), "retryable": source.random() < 0.5}
    if source.random() < 0.002:
        event[f"experiment_{source.randrange(20)}"] = source.choice(("control", "treatment"))
    return event


def _api_slots(source: random.Random) -> Iterator[Slots]:
    time_us = START_US
    second, prefix = -1, ""
    while True:
        time_us += int(source.expovariate(1 / 120))
        if time_us // 1_000_000 != second:
            second = time_us // 1_000_000
            prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        tenths = int(source.random() * 4000)
        whole, rest = divmod(tenths, 10)
        yield {
            b"time": b"%b.%06dZ" % (prefix.encode(), time_us % 1_000_000),
            b"trace": b"%032x" % source.getrandbits(128),
            # As JavaScript writes numbers: a whole one has no fraction.
            b"duration": b"%d.%d" % (whole, rest) if rest else b"%d" % whole,
        }


API_LOGS = Generator("API logs", "api-logs", "_time", _api_templates, _api_slots)


# Bluesky.

KINDS = (
    ("app.bsky.feed.like", 46), ("app.bsky.feed.post", 20), ("app.bsky.graph.follow", 14), ("app.bsky.feed.repost", 8),
    ("app.bsky.graph.block", 2), ("app.bsky.graph.listitem", 1), ("app.bsky.actor.profile", 1), ("delete", 6),
    ("identity", 1), ("account", 1),
)  # fmt: skip
LANGUAGES = (["en"], ["en"], ["en"], ["ja"], ["pt"], ["de"], ["es"], ["en", "fr"])


def _bluesky_templates(source: random.Random) -> list[bytes]:
    names, weights = zip(*KINDS, strict=True)
    return [_template(_bluesky_event(source, kind)) for kind in source.choices(names, weights, k=TEMPLATES)]


def _bluesky_event(source: random.Random, kind: str) -> dict[str, Any]:
    head = {"did": "<did>", "time_us": "<<time>>"}
    if kind == "identity":
        identity = {"did": "<did>", "handle": f"{_word(source)}.bsky.social", "seq": "<<seq>>", "time": "<created>"}
        return {**head, "kind": kind, "identity": identity}
    if kind == "account":
        active = source.random() < 0.7
        account = {"active": active, "did": "<did>", "seq": "<<seq>>", "time": "<created>"}
        return {**head, "kind": kind, "account": account if active else {**account, "status": "deactivated"}}
    commit: dict[str, Any] = {"rev": "<rev>"}
    if kind == "delete":
        commit |= {"operation": "delete", "collection": source.choice(KINDS[:5])[0], "rkey": "<rkey>"}
    else:
        operation = "update" if kind == "app.bsky.actor.profile" else "create"
        record = {"$type": kind, "createdAt": "<created>", **_record(source, kind)}
        commit |= {"operation": operation, "collection": kind, "rkey": "<rkey>", "record": record, "cid": "<cid>"}
    return {**head, "kind": "commit", "commit": commit}


def _record(source: random.Random, kind: str) -> dict[str, Any]:
    match kind:
        case "app.bsky.feed.like" | "app.bsky.feed.repost":
            record: dict[str, Any] = {"subject": _reference("subject")}
            if source.random() < 0.02:
                record["via"] = _reference("root")
            return record
        case "app.bsky.graph.follow" | "app.bsky.graph.block":
            return {"subject": "<other>"}
        case "app.bsky.graph.listitem":
            return {"list": "at://<did>/app.bsky.graph.list/<rkey>", "subject": "<other>"}
        case "app.bsky.actor.profile":
            return {"avatar": _blob(source), "displayName": _text(source, 2), "description": _text(source, 12)}
    return _post(source)


def _post(source: random.Random) -> dict[str, Any]:
    post: dict[str, Any] = {"langs": source.choice(LANGUAGES)}
    chance = source.random()
    if chance < 0.15:
        image = {"alt": _text(source, 8), "aspectRatio": {"height": 1500, "width": 2000}, "image": _blob(source)}
        post["embed"] = {"$type": "app.bsky.embed.images", "images": [image] * source.randrange(1, 4)}
    elif chance < 0.25:
        uri = f"https://{_word(source)}.example.com/{source.randrange(10**6)}"
        about = {"description": _text(source, 15), "title": _text(source, 6), "uri": uri, "thumb": _blob(source)}
        post["embed"] = {"$type": "app.bsky.embed.external", "external": about}
    elif chance < 0.3:
        post["embed"] = {"$type": "app.bsky.embed.record", "record": _reference("root")}
    if source.random() < 0.12:
        tag = {"$type": "app.bsky.richtext.facet#tag", "tag": _word(source)}
        post["facets"] = [{"features": [tag], "index": {"byteEnd": 23, "byteStart": 12}}]
    if source.random() < 0.45:
        post["reply"] = {"parent": _reference("subject"), "root": _reference("root")}
    if source.random() < 0.01:
        values = [{"val": source.choice(("porn", "sexual", "nudity"))}]
        post["labels"] = {"$type": "com.atproto.label.defs#selfLabels", "values": values}
    post["text"] = _text(source, source.randrange(2, 40))
    return post


def _reference(name: str) -> dict[str, str]:
    return {"cid": f"<{name}_cid>", "uri": "at://<other>/app.bsky.feed.post/<other_rkey>"}


def _blob(source: random.Random) -> dict[str, Any]:
    size = source.randrange(10_000, 990_000)
    return {"$type": "blob", "ref": {"$link": "<root_cid>"}, "mimeType": "image/jpeg", "size": size}


def _word(source: random.Random) -> str:
    return source.choice(WORDS)


def _text(source: random.Random, words: int) -> str:
    text = " ".join(source.choices(WORDS, k=words))
    return text + source.choice((".", "!", " \N{SPARKLES}", " caf\u00e9", ' "quoted"', "\nand more"))


def _bluesky_slots(source: random.Random) -> Iterator[Slots]:
    dids = [f"did:plc:{''.join(source.choices(BASE32, k=24))}".encode() for _ in range(DIDS)]
    heads = [f"bafyrei{''.join(source.choices(BASE32, k=22))}".encode() for _ in range(HALVES)]
    tails = ["".join(source.choices(BASE32, k=30)).encode() for _ in range(HALVES)]
    # A record key is a time in base 32; its digits are found two at a time.
    pairs = [(first + second).encode() for first in BASE32_SORTED for second in BASE32_SORTED]
    rand = source.random
    time_us = START_US
    seq = 4_000_000_000
    second, prefix = -1, b""

    def cid() -> bytes:
        return heads[int(rand() * HALVES)] + tails[int(rand() * HALVES)]

    def key(time_us: int) -> bytes:
        digits = b"".join([pairs[time_us >> shift & 1023] for shift in (45, 35, 25, 15, 5)])
        return b"3%b%b" % (digits, pairs[int(rand() * 1024)])

    while True:
        time_us += int(source.expovariate(1 / 2000))
        seq += 1
        if time_us // 1_000_000 != second:
            second = time_us // 1_000_000
            prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
        rev = key(time_us)
        yield {
            b"did": dids[int(rand() * rand() * DIDS)],
            b"other": dids[int(rand() * rand() * DIDS)],
            b"time": b"%d" % time_us,
            b"created": b"%b.%03dZ" % (prefix, time_us // 1000 % 1000),
            b"seq": b"%d" % seq,
            b"rev": rev,
            b"rkey": key(time_us - 40_000),
            b"other_rkey": key(time_us - int(rand() * 86_400_000_000)),
            b"cid": cid(),
            b"subject_cid": cid(),
            b"root_cid": cid(),
        }


BLUESKY = Generator("Bluesky", "bluesky", "time_us", _bluesky_templates, _bluesky_slots)

GENERATORS = (API_LOGS, BLUESKY)
