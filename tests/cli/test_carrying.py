"""`tailrace export` and `import`: what is carried arrives as it was, once, however often it is stopped."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow.parquet as pq
import pytest
import zstandard
from support.commands import Ran, tailrace
from support.disks import fill, small_disk

from tailrace.backup.place import DirectoryPlace
from tailrace.cli import event_pages, pieces
from tailrace.cli.errors import CommandError
from tailrace.events.timestamps import timestamp_ns

if TYPE_CHECKING:
    from conftest import Server

pytestmark = pytest.mark.process

EVENTS: list[dict[str, Any]] = [
    {
        "_time": f"2026-05-{28 + n // 40}T00:{n % 40:02}:00.123456Z",
        "n": n,
        "http": {"status": 200 if n % 2 else "ok"},
        "tags": ["a", n],
        "big": 2**70 + n,
        "f": n / 8,
        **({"rare": {"deep": [{"x": n}]}} if n == 7 else {}),
    }
    for n in range(60)
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have commands run in a directory of their own."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture
def filled(server: "Server", dataset: str) -> str:
    """Return a dataset with the events."""
    assert server.ingest(dataset, EVENTS).json()["ingested"] == 60
    return dataset


@pytest.fixture
def other(server: "Server", dataset: str) -> str:
    """Return an empty dataset."""
    return server.create(f"{dataset}-other")


def run(server: "Server", *arguments: str) -> Ran:
    return tailrace(*arguments, env={"TAILRACE_URL": server.url, "TAILRACE_TOKEN": server.token})


def rows(server: "Server", dataset: str) -> list[dict[str, Any]]:
    """Return what was sent of each event, in order."""
    body = {"apl": f"['{dataset}'] | project-away _sysTime | order by _time asc", "startTime": "2026-05-01T00:00:00Z"}
    answer = server.client.post(
        "/v1/datasets/_apl?format=tabular", json=body, headers={"Accept": "application/x-ndjson"}
    )
    return [
        {name: value for name, value in json.loads(line).items() if value is not None}
        for line in answer.text.splitlines()
    ]


def test_what_is_exported_is_imported_as_it_was(server: "Server", filled: str, other: str, tmp_path: Path) -> None:
    done = run(server, "export", filled, str(tmp_path / "out"))
    files = sorted((tmp_path / "out" / filled).iterdir())

    assert (done.returncode, done.stdout.split(" to ")[0]) == (0, "60 events in 2 files"), done.stderr
    assert [file.name for file in files] == ["2026-05-28.ndjson.zst", "2026-05-29.ndjson.zst"]
    lines = zstandard.ZstdDecompressor().stream_reader(files[1].open("rb")).read().splitlines()
    assert [json.loads(line)["n"] for line in lines] == list(range(40, 60))
    assert json.loads(lines[0]).keys() == {"_sysTime", "_time", "n", "http.status", "tags", "big", "f"}
    imported = run(server, "import", other, *map(str, files))
    again = run(server, "import", other, *map(str, files))
    assert (imported.returncode, imported.stdout) == (0, "imported 60 events, 0 refused\n"), imported.stderr
    assert "60 events were imported already" in again.stdout
    assert rows(server, other) == rows(server, filled)


@pytest.mark.slow
def test_an_export_goes_on_with_the_days_that_are_not_there(server: "Server", filled: str, tmp_path: Path) -> None:
    target = str(tmp_path / "out")
    run(server, "export", filled, target)
    first, second = sorted((tmp_path / "out" / filled).iterdir())
    second.unlink()
    first.write_bytes(b"mine")

    done = run(server, "export", filled, target)

    assert done.stdout.startswith("20 events in 1 file ")
    assert first.read_bytes() == b"mine"
    assert not list((tmp_path / "out").glob(".unfinished"))


def test_a_part_of_a_day_is_taken_for_no_whole_day(server: "Server", filled: str, tmp_path: Path) -> None:
    target, day = tmp_path / "out", "2026-05-28"

    def export(*options: str) -> tuple[str, list[str]]:
        done = run(server, "export", filled, str(target), *options)
        return done.stdout.split(" to ")[0], sorted(path.name for path in (target / filled).iterdir())

    assert export("--until", f"{day}T00:30:00Z") == ("30 events in 1 file", [f"{day}.part.ndjson.zst"])
    assert export("--until", "2026-05-29") == ("40 events in 1 file", [f"{day}.ndjson.zst"])
    assert export("--since", f"{day}T00:30:00Z", "--until", "2026-05-29") == (
        "0 events in 0 files",
        [f"{day}.ndjson.zst"],
    )


def test_today_is_a_part_even_where_the_range_has_all_of_it(server: "Server", dataset: str, tmp_path: Path) -> None:
    server.ingest(dataset, [{"n": 1}])

    run(server, "export", dataset, str(tmp_path), "--until", "2999-01-01")

    assert [path.name.partition(".")[2] for path in (tmp_path / dataset).iterdir()] == ["part.ndjson.zst"]


def test_what_fails_in_an_export_is_told_and_leaves_no_file(
    server: "Server", filled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    other = run(server, "export", filled, str(tmp_path / "file"))
    beneath = run(server, "export", filled, str(tmp_path / "file" / "out"))
    absent = run(server, "export", "absent", str(tmp_path / "out"))
    with DirectoryPlace(tmp_path / "used").working():
        used = run(server, "export", filled, str(tmp_path / "used"))
    asked = []

    def answer(client: httpx.Client, *given: Any, **more: Any) -> httpx.Response:
        asked.append(given)
        if len(asked) == 3:
            raise httpx.ReadError("it was cut off")
        return post(client, *given, **more)

    post = httpx.Client.post
    monkeypatch.setattr(event_pages, "PAGE_EVENTS", 10)
    monkeypatch.setattr(httpx.Client, "post", answer)
    broken = run(server, "export", filled, str(tmp_path / "out"))

    assert [each.returncode for each in (other, beneath, absent, used, broken)] == [1] * 5
    assert other.stderr.startswith(f"tailrace: {tmp_path}/file/.lock: Not a directory; run it again")
    assert beneath.stderr.startswith(f"tailrace: {tmp_path}/file/out: Not a directory; run it again")
    assert "did you mean" in absent.stderr or "not found" in absent.stderr
    assert "another backup or export is being written to" in used.stderr
    assert broken.stderr.endswith("broke: it was cut off\n")
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [".lock"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["ndjson", "parquet"])
def test_a_full_disk_ends_an_export_in_words(server: "Server", filled: str, tmp_path: Path, form: str) -> None:
    with small_disk(tmp_path / "disk", 1) as disk:
        filling = fill(disk)
        full = run(server, "export", filled, str(disk / "out"), "--format", form)
        filling.unlink()
        done = run(server, "export", filled, str(disk / "out"), "--format", form)

    assert (full.returncode, "No space left on device; run it again" in full.stderr) == (1, True), full.stderr
    assert done.stdout.startswith("60 events in 2 files "), done.stderr


@pytest.mark.slow
def test_a_full_disk_ends_an_import_which_goes_on_once_there_is_space(
    server: "Server", other: str, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    defaults = pieces.pieces.__kwdefaults__ or {}
    monkeypatch.setattr(pieces.pieces, "__kwdefaults__", {**defaults, "max_events": 9})
    with small_disk(tmp_path / "disk", 1) as disk:
        command = ("import", other, "events.ndjson", "--state", str(disk / "state"))
        filling = fill(disk)
        at_once = run(server, *command)
        filling.unlink()
        with breaking(monkeypatch, f"/v1/datasets/{other}/ingest", after=2, arrives=True):
            run(server, *command)
        filling = fill(disk)
        later = run(server, *command)
        names = sorted(path.name for path in disk.iterdir())
        filling.unlink()
        done = run(server, *command)

    assert (at_once.returncode, at_once.stderr.partition("cannot be written: ")[2]) == (
        1,
        "No space left on device; give another --state\n",
    )
    assert (later.returncode, "No space left on device; run it again once it can be" in later.stderr) == (1, True)
    assert names == ["filling", "state"]
    assert done.stdout == "imported 60 events, 0 refused\n", done.stderr
    assert [row["n"] for row in rows(server, other)] == list(range(60))


def test_an_answer_of_a_part_is_none() -> None:
    answer = {
        "tables": [{"fields": [{"name": "n"}], "columns": [[1]]}],
        "status": {"isPartial": True, "maxCursor": "c"},
    }
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))

    with (
        httpx.Client(transport=transport, base_url="http://127.0.0.1") as client,
        pytest.raises(CommandError, match="answered with a part of the events only"),
    ):
        list(event_pages.event_pages(client, "web", "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z"))


class DocumentedAxiom:
    """Answers APL queries for pages of events as Axiom's documentation has it: by times, to the nanosecond."""

    def __init__(
        self,
        events: list[tuple[str, int]],
        most: int,
        *,
        other: Callable[[int], int | None] = lambda n: None,
        is_reversed: bool = False,
    ) -> None:
        self.asked = 0
        self.too_much: Callable[[list[tuple[str, int]]], bool] = lambda rows: False
        self.short_ns = 0  # by how much the end of a range is early
        self._other = other  # a field besides
        self._is_reversed = is_reversed  # the order of the fields
        self._events = sorted(events, key=lambda event: timestamp_ns(event[0]))
        self._most = most  # rows of an answer, whatever is asked for

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        assert (request.url.path, dict(request.url.params)) == ("/v1/datasets/_apl", {"format": "tabular"})
        body = json.loads(request.content)
        assert body.keys() == {"apl", "startTime", "endTime"}
        assert timestamp_ns(body["startTime"]) < timestamp_ns(body["endTime"])
        asked = re.fullmatch(r"\['web'\] \| sort by _time asc \| limit (\d+)", body["apl"])
        assert asked is not None
        start_ns, end_ns = timestamp_ns(body["startTime"]), timestamp_ns(body["endTime"])
        found = [event for event in self._events if start_ns <= timestamp_ns(event[0]) < end_ns - self.short_ns]
        rows = found[: min(int(asked[1]), self._most)]
        if rows and self.too_much(rows):
            return httpx.Response(422, json={"message": "too much"})
        columns: list[list[Any]] = [[at for at, _ in rows], [at for at, _ in rows], [n for _, n in rows]]
        columns.append([self._other(n) for _, n in rows])
        fields = [{"name": name, "type": "string"} for name in ("_sysTime", "_time", "n", "m")]
        if self._is_reversed:
            columns, fields = columns[::-1], fields[::-1]
        table = {"name": "0", "sources": [{"name": "web"}], "fields": fields, "columns": columns}
        status = {"elapsedTime": 1, "rowsMatched": len(found), "isPartial": False}
        return httpx.Response(200, json={"format": "tabular", "status": status, "tables": [table]})

    def pages(self, cursor: str = "") -> Iterator[event_pages.EventPage]:
        with httpx.Client(transport=httpx.MockTransport(self), base_url="https://api.axiom.co") as client:
            range_ = ("2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z")
            yield from event_pages.time_pages(client, "web", *range_, cursor=cursor, leave=frozenset({"_sysTime"}))


@pytest.mark.parametrize("page", [1, 2, 7, 100])
def test_events_of_axiom_come_by_their_times_each_once_wherever_it_goes_on(
    page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_pages, "PAGE_EVENTS", page)
    times = ["2026-05-01T00:00:00Z"] + ["2026-05-02T00:00:00.123456789Z"] * 20
    times += ["2026-05-02T00:00:00.12345679Z"] * 3 + [f"2026-05-03T00:00:{n:02}.5Z" for n in range(20)]
    times += ["2026-06-01T00:00:00Z"]  # behind the end
    axiom = DocumentedAxiom([(at, n) for n, at in enumerate(times)], most=50_000)

    pages = list(axiom.pages())
    found = [json.loads(line) for each in pages for line in each.lines]

    assert sorted(event["n"] for event in found) == list(range(44))
    assert all(event == {"_time": times[event["n"]], "n": event["n"]} for event in found)
    assert all(len(each.lines) <= page for each in pages)
    for number, each in enumerate(pages):
        rest = [other.lines for other in axiom.pages(each.cursor)]
        assert [line for lines in rest for line in lines] == [
            line for other in pages[number + 1 :] for line in other.lines
        ]


@pytest.mark.parametrize("tables", [None, [], [{"fields": None, "columns": None}], [{"fields": [{"name": "_time"}]}]])
def test_an_answer_without_rows_is_the_end_as_go_writes_it_too(tables: Any) -> None:
    answer = {"format": "tabular", "status": {"isPartial": False}, "tables": tables}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json=answer))

    with httpx.Client(transport=transport, base_url="http://127.0.0.1") as client:
        range_ = ("2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z")
        assert list(event_pages.time_pages(client, "web", *range_)) == []
        assert list(event_pages.event_pages(client, "web", *range_)) == []
        assert event_pages.event_count(client, "web", *range_) == 0
        assert event_pages.day_counts(client, "web", *range_) == {}


def test_pages_are_as_large_again_once_large_events_have_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_pages, "PAGE_EVENTS", 16)
    large = "2026-05-02T00:00:00Z"
    axiom = DocumentedAxiom([(large, 0)] + [(f"2026-05-03T00:{n // 60:02}:{n % 60:02}Z", n) for n in range(1, 200)], 50)
    axiom.too_much = lambda rows: rows[0][0] == large and len(rows) > 1

    pages = list(axiom.pages())

    assert sorted(json.loads(line)["n"] for each in pages for line in each.lines) == list(range(200))
    assert axiom.asked < 30


def test_an_import_goes_on_within_a_time_though_the_fields_come_in_another_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_pages, "PAGE_EVENTS", 3)
    events = [("2026-05-02T00:00:00Z", n) for n in range(10)]
    first, *_ = DocumentedAxiom(events, 50, other=lambda n: -n).pages()
    rest = list(DocumentedAxiom(events, 50, other=lambda n: -n, is_reversed=True).pages(first.cursor))

    assert sorted(json.loads(line)["n"] for each in (first, *rest) for line in each.lines) == list(range(10))


@pytest.mark.parametrize(
    ("moved_ns", "told"), [(1, "has no events at 2026-05-02T00:00:00Z"), (-1000, "answers with events of other times")]
)
def test_a_server_that_reads_times_otherwise_than_they_are_is_told(
    moved_ns: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_pages, "PAGE_EVENTS", 2)
    times = ["2026-05-02T00:00:00Z"] * 2 + ["2026-05-02T00:00:00.0000005Z"] * 2
    axiom = DocumentedAxiom([(at, n) for n, at in enumerate(times)], most=50)
    axiom.short_ns = moved_ns

    with pytest.raises(CommandError, match=told):
        list(axiom.pages())


def test_more_events_of_one_time_than_axiom_answers_at_once_are_told() -> None:
    axiom = DocumentedAxiom([("2026-05-02T00:00:00Z", n) for n in range(30)], most=20)

    with pytest.raises(CommandError, match="has more events at 2026-05-02T00:00:00Z than the 20 that it answers"):
        list(axiom.pages())


@pytest.mark.slow
def test_parquet_has_a_column_of_one_type_for_each_field(
    server: "Server", filled: str, other: str, tmp_path: Path
) -> None:
    done = run(server, "export", filled, str(tmp_path), "--format", "parquet")
    files = sorted((tmp_path / filled).glob("*.parquet"))

    assert (done.returncode, len(files)) == (0, 2), done.stderr
    table = pq.read_table(files[0])
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["_time"], types["n"], types["f"]) == ("timestamp[us, tz=UTC]", "int64", "double")
    assert table["http.status"].to_pylist()[:2] == ['"ok"', "200"]
    assert table["tags"].to_pylist()[3] == '["a",3]'
    assert run(server, "import", other, *map(str, files)).returncode == 0
    assert [row["n"] for row in rows(server, other)] == list(range(60))
    assert not [row for row in rows(server, other) if "_user_sysTime" in row]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["tailrace", "axiom"])
def test_events_of_another_server_come_page_by_page_each_once_however_often_it_is_stopped(
    server: "Server", filled: str, other: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_pages, "PAGE_EVENTS", 7)
    options = ("--source-url", server.url, "--source-token", server.token, "--source-dataset", filled)
    command = ("import", other, "--from", source, *options, "--until", "2026-06-01")
    stops = 0
    for _ in range(40):
        with breaking(monkeypatch, f"/v1/datasets/{other}/ingest", after=2, arrives=stops % 2 == 0):
            done = run(server, *command)
        if done.returncode == 0:
            break
        assert "the connection to" in done.stderr
        stops += 1

    assert stops > 2
    assert done.stdout == "imported 60 events, 0 refused\n"
    assert rows(server, other) == rows(server, filled)
    assert "were imported already" in run(server, *command).stdout


class breaking:  # noqa: N801
    """Breaks the connection at the request to a path after so many, which arrives or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: str, *, after: int, arrives: bool) -> None:
        self._patch = monkeypatch
        self._path, self._left, self._arrives = path, after, arrives

    def __enter__(self) -> None:
        self._send = send = httpx.Client.send

        def breaking_send(client: httpx.Client, request: httpx.Request, **more: Any) -> httpx.Response:
            if request.url.path != self._path:
                return send(client, request, **more)
            self._left -= 1
            if self._left < 0 and not self._arrives:
                raise httpx.ReadError("gone")
            answer = send(client, request, **more)
            if self._left < 0:
                raise httpx.ReadError("gone")
            return answer

        self._patch.setattr(httpx.Client, "send", breaking_send)

    def __exit__(self, *_: object) -> None:
        self._patch.setattr(httpx.Client, "send", self._send)


@pytest.mark.slow
def test_files_that_are_imported_in_pieces_go_on_where_it_was_stopped(
    server: "Server", other: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "events.ndjson").write_text("".join(json.dumps(event) + "\n" for event in EVENTS))
    defaults = pieces.pieces.__kwdefaults__ or {}
    monkeypatch.setattr(pieces.pieces, "__kwdefaults__", {**defaults, "max_events": 9})
    for arrives in (True, False):
        with breaking(monkeypatch, f"/v1/datasets/{other}/ingest", after=2, arrives=arrives):
            stopped = run(server, "import", other, "events.ndjson")
        assert stopped.returncode == 1

    done = run(server, "import", other, "events.ndjson")

    assert "goes on after" in done.stderr
    assert done.stdout == "imported 60 events, 0 refused\n"
    assert [row["n"] for row in rows(server, other)] == list(range(60))


ELASTIC = """{"_id":"1","_source":{"@timestamp":"2026-05-28T00:00:00Z","message":"a","n":10000000000000000001}}
{"index":{"_index":"logs"}}
{"@timestamp":"2026-05-28T00:00:01Z","message":"b"}
"""
LOKI = """{"labels":{"app":"web","level":"info"},"line":"a","timestamp":"2026-05-28T00:00:00Z"}
{"labels":{},"line":"b","timestamp":"2026-05-28T00:00:01Z"}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        ("elastic", ELASTIC, [{"message": "a", "n": 10000000000000000001}, {"message": "b"}]),
        ("loki", LOKI, [{"app": "web", "level": "info", "message": "a"}, {"message": "b"}]),
    ],
)
def test_exports_of_others_become_events(
    server: "Server", other: str, here: Path, source: str, text: str, found: list[dict[str, Any]]
) -> None:
    (here / "dump.ndjson").write_text(text)

    done = run(server, "import", other, "--from", source, "dump.ndjson")

    assert (done.returncode, done.stdout) == (0, "imported 2 events, 0 refused\n"), done.stderr
    read = rows(server, other)
    assert [row.pop("_time") for row in read] == ["2026-05-28T00:00:00Z", "2026-05-28T00:00:01Z"]
    assert [{k: v for k, v in row.items() if k != "@timestamp"} for row in read] == found


@pytest.mark.slow
def test_refused_events_are_told_and_cost_no_other(server: "Server", other: str, here: Path) -> None:
    (here / "events.ndjson").write_text('{"n":1}\n{"n":\n{"n":3}\n')

    done = run(server, "import", other, "events.ndjson")

    assert (done.returncode, done.stdout) == (1, "imported 2 events, 1 refused\n")
    assert "event 1: " in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give the files to import"),
        (("none.ndjson",), "there is no file none.ndjson"),
        (("--from", "tailrace"), "give the address of the other server"),
        (("--from", "axiom"), "give a token of the other server"),
        (("--from", "axiom", "--source-token", "x"), "give a time that stays the same"),
        (("--from", "axiom", "--source-token", "x", "--until", "-1h"), "give a time that stays the same"),
        (("--from", "axiom", "--source-token", "x", "--until", "soon"), "is no time"),
        (("--from", "loki", "--since", "-1d", "x"), "it is for --from tailrace and axiom"),
    ],
)
def test_a_wrong_call_is_told(server: "Server", other: str, arguments: tuple[str, ...], told: str) -> None:
    done = run(server, "import", other, *arguments)

    assert (done.returncode, told in " ".join(done.stderr.replace("│", "").split())) == (2, True), done.stderr


def test_what_the_other_server_refuses_names_its_own_options(server: "Server", filled: str, other: str) -> None:
    def refused(url: str, token: str, dataset: str) -> str:
        options = ("--source-url", url, "--source-token", token, "--source-dataset", dataset)
        done = run(server, "import", other, "--from", "axiom", *options, "--until", "2026-06-01")
        assert done.returncode == 1
        return done.stderr.strip()

    assert refused(server.url, "bad", filled).endswith("by --source-token (TAILRACE_SOURCE_TOKEN)")
    assert refused("http://127.0.0.1:1", "bad", filled).endswith("check --source-url")
    absent = refused(server.url, server.token, "absent")
    assert absent == "tailrace: dataset 'absent' not found; --source-dataset names the one at the other server"


@pytest.mark.slow
def test_a_state_of_another_import_is_refused(server: "Server", other: str, here: Path) -> None:
    (here / "a.ndjson").write_text('{"n":1}\n')
    (here / "b.ndjson").write_text('{"n":2}\n')
    run(server, "import", other, "a.ndjson", "--state", "state")

    done = run(server, "import", other, "b.ndjson", "--state", "state")
    (here / "state").write_text("{")
    damaged = run(server, "import", other, "a.ndjson", "--state", "state")

    assert (done.returncode, "is of another import" in done.stderr) == (1, True)
    assert (damaged.returncode, "delete it to begin the import again" in damaged.stderr) == (1, True)


def test_a_page_that_is_too_large_is_asked_for_in_parts(
    server: "Server", filled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = [
        len(page.lines)
        for page in event_pages.event_pages(
            server.client, filled, "2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z", max_bytes=1500
        )
    ]

    assert (sum(pages), max(pages) < 15) == (60, True)
