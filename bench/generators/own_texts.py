"""Events in which nearly each text is another, as people and services write them."""

import random
import re
from collections.abc import Callable, Iterator
from pydoc_data.topics import topics

from bench.generators.api_logs import API_LOGS
from bench.generators.bluesky import BLUESKY
from bench.generators.generator import Generator, Slots

NAMES = 0.02  # share of words that are names which few texts have
RARE = 5e-6  # share of messages that are about what hardly ever happens
SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
MESSAGES = (
    "payment {id} of user {user} refused by bank: insufficient funds (attempt {few}, {ms} ms)",
    "order {id} of user {user} shipped from warehouse {few}",
    "cache miss for key session:{id}, loaded in {ms} ms",
    "connection {user} from 10.0.{few}.{ms} closed",
    "retrying job {id} on queue emails: timeout after {ms} ms",
    "user {user} logged in from new device {id}",
    "GET /v1/orders/{user} answered 200 in {ms} ms",
    "slow query on table invoices: {ms} ms, {user} rows examined",
)
RARE_MESSAGE = "replica lag exceeded: DeadlockVictimChosen on shard {few}"

Texts = Callable[[random.Random], Iterator[str]]


def _posts(source: random.Random) -> Iterator[str]:
    """Yield texts of English words, as frequent as Python's own documentation has them, and of names."""
    words = re.findall(r"[a-z']+", " ".join(topics.values()).lower())
    while True:
        chosen = source.choices(words, k=source.randrange(2, 40))
        yield " ".join(_name(source) if source.random() < NAMES else word for word in chosen)


def _name(source: random.Random) -> str:
    return "".join(source.choices(SYLLABLES, k=source.randrange(2, 5))).capitalize()


def _messages(source: random.Random) -> Iterator[str]:
    while True:
        message = RARE_MESSAGE if source.random() < RARE else source.choice(MESSAGES)
        yield message.format(
            id=f"{source.getrandbits(48):012x}",
            user=source.randrange(10_000, 100_000),
            ms=int(source.expovariate(0.01)),
            few=source.randrange(1, 10),
        )


def _with_texts(generator: Generator, field: str, texts: Texts) -> Generator:
    """Return the events of a generator with one text made anew for each event."""
    pattern = re.compile(rb'("%b":)"(?:[^"\\]|\\.)*"' % field.encode())

    def templates(source: random.Random) -> list[bytes]:
        return [pattern.sub(rb'\g<1>"%(own)b"', template) for template in generator.templates(source)]

    def slots(source: random.Random) -> Iterator[Slots]:
        for values, text in zip(generator.slots(source), texts(source), strict=False):
            yield {**values, b"own": text.encode()}

    return Generator(f"{generator.name}, own texts", generator.dataset, generator.time_field, templates, slots)


API_MESSAGES = _with_texts(API_LOGS, "message", _messages)
BLUESKY_POSTS = _with_texts(BLUESKY, "text", _posts)
