"""Worst inputs: lines of events that make parsing and shredding do the most for each byte, whoever sends them."""

import random
from collections.abc import Callable

BYTES = 1_000_000  # of each, about

Line = Callable[[random.Random, int], bytes]


def _new_key(source: random.Random, number: int) -> bytes:
    return b'{"level":"info","msg":"hello world %d","k%032x":%d}' % (number, source.getrandbits(128), number)


def _many_new_keys(source: random.Random, number: int) -> bytes:
    return b"{%s}" % b",".join(b'"%x":%d' % (source.getrandbits(64), number) for _ in range(20))


def _some_keys(source: random.Random, number: int) -> bytes:
    return b"{%s}" % b",".join(b'"key_%d":%d' % (key, number) for key in source.sample(range(2000), 20))


def _dense_keys(source: random.Random, number: int) -> bytes:
    return b"{%s}" % b",".join(b'"key_%d":%d' % (key, number) for key in range(300))


def _two_thousand_keys(source: random.Random, number: int) -> bytes:
    return b"{%s}" % b",".join(b'"key_%d":%d' % (key, number) for key in range(2000))


def _digits(source: random.Random, number: int) -> bytes:
    return b'{"a":0.%025d,"b":%d.%024d,"c":"x"}' % (source.getrandbits(80), number, source.getrandbits(70))


def _floats(source: random.Random, number: int) -> bytes:
    return f'{{"a":{source.random()!r},"b":{source.gauss(0, 1e9)!r},"c":{source.random() * 1e-30!r}}}'.encode()


def _halfway(source: random.Random, number: int) -> bytes:
    """Numbers in the middle between two doubles, which only exact arithmetic decides."""
    return b'{"a":%d.%s}' % (2**53 + 2 * source.getrandbits(40) + 1, b"0" * 700 + b"1")


def _deep(source: random.Random, number: int) -> bytes:
    return b'{"a":' * 99 + b"{}" + b"}" * 99


def _deep_doubled(source: random.Random, number: int) -> bytes:
    return b'{"a":1,"a":' * 99 + b"{}" + b"}" * 99


WORST: dict[str, Line] = {
    "a new key in every event": _new_key,
    "20 new keys in every event": _many_new_keys,
    "20 of 2,000 keys": _some_keys,
    "300 keys": _dense_keys,
    "2,000 keys": _two_thousand_keys,
    "a doubled key": lambda _, number: b'{"a":1,"b":"text %d","c":{"d":[1,2,3]},"a":%d}' % (number, number),
    "a doubled object": lambda _, n: b'{"a":{"x":%d,"y":"abc"},"b":"text %d","a":{"z":%d}}' % (n, n, n),
    "one path by two nestings": lambda _, number: b'{"a.b":%d,"a":{"b":%d},"c":"x"}' % (number, number),
    "25 digits": _digits,
    "floats": _floats,
    "700 digits": _halfway,
    "escapes": lambda _, number: b'{"a":"' + b'\\n\\u00e9\\"\\ud83d\\ude00 ab' * 8 + b'","b":%d}' % number,
    "escapes in keys": lambda _, number: b'{"\\u0061\\n\\"":%d,"\\ud83d\\ude00":"x"}' % number,
    "an empty object": lambda _, number: b'{"a":%d,"tags":{},"m":"hello %d"}' % (number, number),
    "empty events": lambda _, number: b"{}",
    "small events": lambda _, number: b'{"a":1}',
    "spaces": lambda _, n: b'{ "a" : %d , "b" : { "c" : "hello" , "d" : [ 1 , 2 ] } , "e" : null }' % n,
    "100 levels": _deep,
    "100 doubled levels": _deep_doubled,
    "an array of arrays": lambda _, number: b'{"a":' + b"[" * 99 + b"1" + b"]" * 99 + b"}",
    "no ASCII": lambda _, number: '{"日本語":"これは長い文字列です🎉🎉🎉","è":%d}'.encode() % number,
}


def lines(name: str, seed: int, size: int = BYTES) -> bytes:
    """Return lines of one of WORST, each with a newline after it; the same for the same seed."""
    source, line = random.Random(f"{name} {seed}"), WORST[name]
    made: list[bytes] = []
    total = 0
    while total < size:
        made.append(line(source, len(made)) + b"\n")
        total += len(made[-1])
    return b"".join(made)
