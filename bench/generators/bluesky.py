"""Events as a Bluesky relay sends them: of many shapes, with a path that is a text here and an object there."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from bench.generators.generator import START_US, TEMPLATES, WORDS, Generator, Slots, template

DIDS = 20_000
HALVES = 4096  # halves of content identifiers, joined at random
BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
BASE32_SORTED = "234567abcdefghijklmnopqrstuvwxyz"
KINDS = (
    ("app.bsky.feed.like", 46), ("app.bsky.feed.post", 20), ("app.bsky.graph.follow", 14), ("app.bsky.feed.repost", 8),
    ("app.bsky.graph.block", 2), ("app.bsky.graph.listitem", 1), ("app.bsky.actor.profile", 1), ("delete", 6),
    ("identity", 1), ("account", 1),
)  # fmt: skip
LANGUAGES = (["en"], ["en"], ["en"], ["ja"], ["pt"], ["de"], ["es"], ["en", "fr"])


def _bluesky_templates(source: random.Random) -> list[bytes]:
    names, weights = zip(*KINDS, strict=True)
    return [template(_bluesky_event(source, kind)) for kind in source.choices(names, weights, k=TEMPLATES)]


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
