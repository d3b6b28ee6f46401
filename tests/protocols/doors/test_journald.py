"""Entries of a journal as systemd-journal-upload sends them: text, binary and repeated fields, and broken ones."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st
from support.serving import Serving, serving

from tailrace.protocols.doors.journald_entries import entries

# Of https://systemd.io/JOURNAL_EXPORT_FORMATS/, shortened.
DOCUMENTED = (
    b"__CURSOR=s=739ad463348b4ceca5a9e69c95a3c93f;i=4ece7;b=6c7c;m=4fc72436e;t=4c508a72423d9;x=d3e5;p=system.journal\n"
    b"__REALTIME_TIMESTAMP=1342540861416409\n_TRANSPORT=syslog\nPRIORITY=4\n"
    b"MESSAGE=AccountsService-DEBUG(+): ActUserManager: ignoring unspecified session '8' since it's not graphical\n"
    b"_UDEV_DEVLINK=/dev/alias1\n_UDEV_DEVLINK=/dev/alias2\n_HOSTNAME=epsilon\n\n"
    b"__CURSOR=s=bcce4fb8ffcb40e9a6e05eee8b7831bf;i=5ef603;b=ec25;m=545242e7049;t=50f1202\n"
    b"__REALTIME_TIMESTAMP=1423944916375353\n"
    b"MESSAGE\n\x07\0\0\0\0\0\0\0foo\nbar\nCODE_FILE=<string>\nBINARY\n\x03\0\0\0\0\0\0\0\xff\0=\n\n"
)


def run(directory: Path, test: Callable[[Serving], Awaitable[None]], environ: dict[str, str] | None = None) -> None:
    """Run a test on a server with the dataset `journal`."""

    async def serve() -> None:
        async with serving(directory, environ=environ) as served:
            if not served.parts.lake.has("journal"):
                served.parts.lake.create("journal")
            await test(served)

    asyncio.run(serve())


async def upload(served: Serving, body: bytes, **headers: str) -> httpx.Response:
    sent = {"Content-Type": "application/vnd.fdo.journal", "X-Axiom-Dataset": "journal", **headers}

    async def pieces() -> Any:
        yield body[:100]
        yield body[100:]

    return await served.client.post("/upload", content=pieces(), headers=sent)


async def rows(served: Serving) -> list[dict[str, Any]]:
    return await asyncio.to_thread(served.parts.rows, "journal")


def entry(number: int, *more: bytes) -> bytes:
    return b"\n".join((b"__CURSOR=c%d" % number, b"__REALTIME_TIMESTAMP=176732304500000%d" % number, *more)) + b"\n\n"


def test_the_documented_entries(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        answer = await upload(served, DOCUMENTED)
        assert (answer.status_code, answer.content) == (202, b"OK.\n")
        first, second = await rows(served)
        assert (first["PRIORITY"], first["_UDEV_DEVLINK"]) == ("4", ["/dev/alias1", "/dev/alias2"])
        assert first["MESSAGE"].endswith("since it's not graphical")
        assert (second["MESSAGE"], second["BINARY"], second["CODE_FILE"]) == ("foo\nbar", [255, 0, 61], "<string>")
        assert second["__REALTIME_TIMESTAMP"] == "1423944916375353"
        body = {"apl": "['journal'] | sort by _time asc", "startTime": "2012-01-01T00:00:00Z"}
        found = (await served.client.post("/v1/datasets/_apl?format=legacy", json=body)).json()["matches"]
        assert [match["_time"] for match in found] == ["2012-07-17T16:01:01.416409Z", "2015-02-14T20:15:16.375353Z"]

    run(tmp_path, test)


def test_entries_that_are_sent_again_are_stored_once(tmp_path: Path) -> None:
    async def before(served: Serving) -> None:
        body = entry(1, b"n=1") + entry(2, b"n=2")
        for _ in range(2):
            assert (await upload(served, body)).status_code == 202
        assert sorted(row["n"] for row in await rows(served)) == ["1", "2"]

    async def after(served: Serving) -> None:
        assert (await upload(served, entry(2, b"n=2") + entry(3, b"n=3") + b"n=none\n\n")).status_code == 202
        assert sorted(row["n"] for row in await rows(served)) == ["1", "2", "3", "none"]

    run(tmp_path, before)
    run(tmp_path, after)


def test_a_bad_entry_costs_no_other_nor_the_upload(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        bad = b"__REALTIME_TIMESTAMP=soon\nn=2\n\n" + b"=x\nn=3\n\n"
        answer = await upload(served, entry(1, b"n=1") + bad + entry(4, b"n=4") + entry(5, b"x" * 201 + b"=y"))
        assert answer.status_code == 202
        assert answer.text.startswith(
            "3 of 5 entries were refused, the others are stored: number 1: __REALTIME_TIMESTAMP"
        )
        assert [row["n"] for row in await rows(served)] == ["1", "4"]
        broken = await upload(
            served, entry(6, b"n=6") + b"MESSAGE\n" + struct.pack("<Q", 2**63) + b"abc\n\n" + entry(7)
        )
        assert broken.status_code == 400
        assert "entry 1: the field 'MESSAGE' at byte" in broken.text
        assert sorted(row["n"] for row in await rows(served)) == ["1", "4", "6"]
        assert (await upload(served, b"\n\n\n")).status_code == 202

    run(tmp_path, test)


def test_what_is_refused_as_a_whole(tmp_path: Path) -> None:
    async def test(served: Serving) -> None:
        media = await upload(served, entry(1), **{"Content-Type": "text/plain"})
        assert (media.status_code, "journal export format" in media.text) == (415, True)
        for authorization, status in (("Bearer no", 401), ("Digest x", 401)):
            assert (await upload(served, entry(1), Authorization=authorization)).status_code == status
        missing = await upload(served, entry(1), **{"X-Axiom-Dataset": "missing"})
        assert missing.status_code == 404
        large = await upload(served, b"A=b\n\n" * 100_001)
        assert (large.status_code, "max_events" in large.text) == (413, True)
        assert "upload from a later entry on" in large.text

    run(tmp_path, test)


def test_an_entry_of_very_many_fields_is_refused_by_itself() -> None:
    many = b"".join(b"F%d=x\n" % number for number in range(1025))
    first, second, third = entries(many + b"\n" + b"A=1\n\n" + many.replace(b"=", b"\n\1\0\0\0\0\0\0\0") + b"\n")
    assert (first.fault, second.fields) == ("the entry has more than 1024 fields", {"A": "1"})
    assert third.fault == first.fault
    (largest,) = entries(b"".join(b"F%d=x\n" % number for number in range(1024)))
    assert len(largest.fields) == 1024


FIELDS = st.dictionaries(
    st.from_regex(r"[A-Z_][A-Z0-9_]{0,5}", fullmatch=True),
    st.lists(st.binary(max_size=12) | st.text(max_size=8).map(str.encode), min_size=1, max_size=2),
    min_size=1,
    max_size=4,
)


def exported(fields: dict[str, list[bytes]], as_binary: bool) -> bytes:
    """Return an entry as the journal exports it."""
    lines = []
    for name, values in fields.items():
        for value in values:
            is_text = not as_binary and b"\n" not in value and is_utf8(value)
            sized = name.encode() + b"\n" + struct.pack("<Q", len(value)) + value
            lines.append(name.encode() + b"=" + value if is_text else sized)
    return b"\n".join(lines) + b"\n\n"


def is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.lists(st.tuples(FIELDS, st.booleans()), max_size=5))
def test_every_field_comes_back(sent: list[tuple[dict[str, list[bytes]], bool]]) -> None:
    found = list(entries(b"".join(exported(fields, as_binary) for fields, as_binary in sent)))
    assert [each.fault for each in found] == [""] * len(sent)
    for each, (fields, _) in zip(found, sent, strict=True):
        shown = {
            name: [value.decode() if is_utf8(value) else list(value) for value in values]
            for name, values in fields.items()
        }
        assert each.fields == {name: values if len(values) > 1 else values[0] for name, values in shown.items()}


@given(
    st.binary(max_size=60)
    | st.lists(st.sampled_from([b"A=1", b"\n", b"\n\n", b"B", b"\3\0\0\0\0\0\0\0", b"abc"])).map(b"".join)
)
def test_any_bytes_are_entries_or_faults(body: bytes) -> None:
    found = list(entries(body))
    assert all(bool(each.fields) != bool(each.fault) for each in found)
    assert not any(each.is_last for each in found[:-1])
