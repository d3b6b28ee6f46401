"""`tailrace export`: the events of a dataset as files, one a day."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx
import typer
import zstandard
from msgspec import Struct

from tailrace.cli.client import ServerChoice, quoted, server_command
from tailrace.cli.client import call as ask
from tailrace.cli.completion import dataset_names
from tailrace.cli.errors import CommandError
from tailrace.cli.event_pages import day_counts, event_pages
from tailrace.cli.output import counted
from tailrace.cli.places import place_errors, place_of
from tailrace.cli.times import moment, shown
from tailrace.cli.transfer import TransferProgress, transfer_progress

if TYPE_CHECKING:
    from tailrace.backup.place import BackupPlace

ADVICE = "run it again: whole days that are there are not asked for again"
PART = ".part"  # in the names of files of days that are not over, or not in the range as a whole
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class ExportFormat(StrEnum):
    """What the files are."""

    NDJSON = "ndjson"
    PARQUET = "parquet"


SUFFIXES = {ExportFormat.NDJSON: ".ndjson.zst", ExportFormat.PARQUET: ".parquet"}


class _DayFile(Struct, frozen=True):
    """The file of a day."""

    name: str
    whole: str  # the name of one that has the whole day
    part: str  # of one that has a part of it
    start: str  # RFC 3339
    end: str


@server_command
def export(
    dataset: Annotated[str, typer.Argument(help="Dataset to export.", autocompletion=dataset_names)],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="A directory, or s3://bucket/prefix; files go to TARGET/DATASET.")
    ],
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Events from then on: RFC 3339, or like -7d.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Events before then; default: now.")
    ] = None,
    form: Annotated[
        ExportFormat, typer.Option("--format", help="NDJSON in zstd has every value as it is.")
    ] = ExportFormat.NDJSON,
    *,
    server: ServerChoice,
) -> None:
    """Write the events of a dataset to files, one a day in UTC, such as TARGET/web/2026-05-28.ndjson.zst.

    A file is whole or not there; with a part of a day, such as today, it is 2026-05-28.part.ndjson.zst. An export that
    was stopped goes on when it is run again: whole days that are there are not asked for again. In Parquet, a field of
    several types is JSON text. `tailrace import` reads both.

    Examples:

      tailrace export web /mnt/events --since -30d

      tailrace export web s3://archive/events --since 2026-05-01T00:00:00Z --until 2026-06-01T00:00:00Z --format parquet
    """
    now = datetime.now(UTC)
    start = option_moment(since, "--since", EARLIEST)
    end = option_moment(until, "--until", now)
    place = place_of(target)
    written = 0
    with (
        place_errors(place, ADVICE),
        server.connect() as client,
        transfer_progress(is_of_events=True) as progress,
        place.working() as working,
    ):
        ask(client, "GET", f"/v2/datasets/{quoted(dataset)}")
        counts = day_counts(client, dataset, shown(start), shown(end))
        progress.expect(len(counts), sum(counts.values()))
        there = place.sizes(dataset)
        for day, count in counts.items():
            file = _day_file_of(dataset, day, form, start, end, now)
            if file.whole in there:
                progress.advance(count)
                progress.end_file(copied=False)
                continue
            written += _write_day(client, place, working, dataset, file, progress)
            if file.name != file.part and file.part in there:
                place.settle()
                place.remove(file.part)
            progress.end_file(copied=True)
        place.settle()
    print(f"{counted(written, 'event')} in {counted(progress.copied, 'file')} to {place.url}/{dataset}")


def _day_file_of(dataset: str, day: str, form: ExportFormat, start: datetime, end: datetime, now: datetime) -> _DayFile:
    """Return the file of what a range has of a day, such as 2026-05-28."""
    first = datetime.fromisoformat(day).replace(tzinfo=UTC)
    last = first + timedelta(days=1)
    whole, part = (f"{dataset}/{day}{mark}{SUFFIXES[form]}" for mark in ("", PART))
    is_whole = start <= first and last <= min(end, now)
    return _DayFile(whole if is_whole else part, whole, part, shown(max(start, first)), shown(min(end, last)))


def _write_day(
    client: httpx.Client,
    place: "BackupPlace",
    working: Path,
    dataset: str,
    file: _DayFile,
    progress: TransferProgress,
) -> int:
    """Write the events of a day to its file; return how many there are."""
    path = working / file.name.replace("/", "-")
    events = 0
    try:
        with _day_file(path) as write:
            for page in event_pages(client, dataset, file.start, file.end):
                write(page.lines)
                events += len(page.lines)
                progress.advance(len(page.lines))
        place.put(file.name, path)
    finally:
        path.unlink(missing_ok=True)
    return events


@contextmanager
def _day_file(path: Path) -> Iterator[Any]:
    """Yield what writes lines to a file."""
    if path.suffix != ".parquet":
        with path.open("wb") as file, zstandard.ZstdCompressor().stream_writer(file, closefd=False) as packed:
            yield lambda lines: packed.write(b"".join(lines))
        return
    from tailrace.cli.parquet_files import UNWRITABLE, spooled_parquet

    try:
        with path.open("wb") as file, spooled_parquet(file, path.with_suffix(".spool")) as write:
            yield write
    except UNWRITABLE as error:
        raise CommandError(
            f"{path.stem} cannot be written as Parquet: {error}; --format ndjson has every value as it is"
        ) from error


def option_moment(text: str | None, option: str, otherwise: datetime) -> datetime:
    """Return the time that an option gives, or another one. Raise BadParameter."""
    try:
        return otherwise if text is None else moment(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
