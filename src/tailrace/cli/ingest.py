"""`tailrace ingest`: send files of events, in pieces, and say what became of each."""

import codecs
import itertools
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from tailrace.cli.client import ServerChoice, is_loopback, quoted, server_command
from tailrace.cli.completion import dataset_names
from tailrace.cli.errors import FAILED, CommandError
from tailrace.cli.file_chunks import STDIN, UNREADABLE, as_they_come, decoded, opened, read_chunks, shown_name
from tailrace.cli.ingest_report import FileReport, IngestTotals
from tailrace.cli.ingest_sender import PieceSender
from tailrace.cli.interruption import Interruption, interruptible
from tailrace.cli.pieces import FLUSH, BadFile, Format, Piece, format_of, is_log, parquet_pieces, pieces, sniffed

SNIFFED_BYTES = 64 * 1024  # of a log, to see its format


@server_command
def ingest(
    dataset: Annotated[str, typer.Argument(help="Dataset to send to.", autocompletion=dataset_names)],
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Files: .json, .ndjson, .jsonl, .csv, .parquet, .log, also gzip or zstd of them; - is standard input.",
        ),
    ],
    form: Annotated[
        Format | None, typer.Option("--format", help="What the files hold, instead of going by their names.")
    ] = None,
    timestamp_field: Annotated[
        str | None, typer.Option("--timestamp-field", help="Field that holds an event's time; default _time.")
    ] = None,
    timestamp_format: Annotated[
        str | None,
        typer.Option("--timestamp-format", help="Its layout, as Go's reference time: 2006-01-02 15:04:05."),
    ] = None,
    csv_delimiter: Annotated[str, typer.Option("--csv-delimiter", help="Delimiter of CSV.")] = ",",
    encoding: Annotated[
        str, typer.Option("--encoding", metavar="NAME", help="Encoding of text that is not UTF-8, such as latin-1.")
    ] = "utf-8",
    *,
    server: ServerChoice,
) -> None:
    """Send events from files, or from a pipe as they come.

    Refused events are listed on standard error, numbered from 0 within their file as in the server's answers.
    A file that cannot be read to its end is named there too. In both cases the exit code is 1.

    Ctrl-C ends the reading: what was read is sent, and the exit code is 130. So does SIGTERM, with 143.

    Examples:

      tailrace ingest web events.ndjson more.csv.gz

      tail -f access.log | tailrace ingest web --format combined -
    """
    _check_options(files, csv_delimiter, encoding)
    sources = [_InputFile(file, form or _format_by_name(file), csv_delimiter, encoding) for file in files]
    params = {
        "timestamp-field": timestamp_field,
        "timestamp-format": timestamp_format,
        "csv-delimiter": csv_delimiter if csv_delimiter != "," else None,
    }
    totals = IngestTotals()
    with server.connect() as client, interruptible() as interruption:
        sender = PieceSender(
            client,
            f"/v1/datasets/{quoted(dataset)}/ingest",
            {name: value for name, value in params.items() if value},
            compress=not is_loopback(server.find().url),
        )
        _send_files(sources, sender, totals, interruption)
    print(totals.summary())
    if interruption.is_set():
        raise typer.Exit(interruption.exit_code)
    if totals.failed or totals.broken:
        raise typer.Exit(FAILED)


class _InputFile(Struct, frozen=True):
    """A file that is sent, and how it is read."""

    file: Path
    form: Format | None  # None: by what it holds
    csv_delimiter: str
    encoding: str


def _check_options(files: Sequence[Path], csv_delimiter: str, encoding: str) -> None:
    """Raise BadParameter for what no file can be read by, and for a file that is not there."""
    if len(csv_delimiter) != 1 or not csv_delimiter.isascii() or csv_delimiter in '"\r\n':
        raise typer.BadParameter("it is one ASCII character", param_hint="--csv-delimiter")
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise typer.BadParameter(f"there is no encoding {encoding!r}", param_hint="--encoding") from error
    for file in files:
        if file != STDIN and file.is_dir():
            raise typer.BadParameter(
                f"{file} is a directory: give its files, such as {file}/*.ndjson", param_hint="FILE"
            )
        if file != STDIN and not file.exists():
            raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")


def _format_by_name(file: Path) -> Format | None:
    """Return the format that the name tells, None for that of a log, whose content has to be looked at."""
    form = Format.JSON if file == STDIN else format_of(file.name)
    if form is None and not is_log(file.name) and not str(file).startswith("/dev/"):
        raise typer.BadParameter(f"the name of {file} does not tell its format: give --format", param_hint="FILE")
    return form


def _send_files(
    sources: Sequence[_InputFile], sender: PieceSender, totals: IngestTotals, interruption: Interruption
) -> None:
    """Send files one after the other; raise CommandError, which says what was sent before it."""
    with _progress() as progress:
        try:
            for source in sources:
                if interruption.is_set():
                    totals.unread += 1
                else:
                    _send_file(source, sender, totals, progress, interruption)
        except CommandError as error:
            if totals.ingested or totals.failed or totals.broken:
                raise CommandError(f"{error}; before that {totals.summary()}") from error
            raise


def _send_file(
    source: _InputFile, sender: PieceSender, totals: IngestTotals, progress: Progress, interruption: Interruption
) -> None:
    """Send a file in pieces; what cannot be read to its end is reported and counted."""
    task = progress.add_task(shown_name(source.file), total=_size(source.file), events=0)
    report = FileReport(progress.console, source.file)
    try:
        with opened(source.file) as raw, closing(_pieces(raw, source, interruption, report)) as found:
            for piece in found:
                outcome = sender.send(piece, report.events)
                totals.add(outcome)
                report.outcome(piece, outcome)
                progress.update(task, completed=_position(raw), events=report.events)
    except (BadFile, *UNREADABLE) as error:
        totals.broken += 1
        report.broken(error)
    report.end()


def _pieces(
    raw: BinaryIO, source: _InputFile, interruption: Interruption, report: FileReport
) -> Generator[Piece, None, None]:
    """Yield the bodies that a file makes, in the format given or the one that it seems to have."""
    form = source.form
    chunks = read_chunks(raw, source.file.suffix)
    if form is Format.PARQUET:
        yield from _parquet_pieces(chunks, interruption)
        return
    with as_they_come(decoded(chunks, source.encoding), interruption) as coming:
        if form is None:
            head = b""
            for chunk in coming:
                head += chunk
                if len(head) >= SNIFFED_BYTES or (chunk == FLUSH and b"\n" in head):
                    break
            form = sniffed(head)
            report.recognised(form)
            coming = itertools.chain((head,), coming)
        if form is Format.PARQUET:
            yield from _parquet_pieces(coming, interruption)
        else:
            yield from pieces(coming, form, delimiter=source.csv_delimiter)


def _parquet_pieces(chunks: Iterator[bytes], interruption: Interruption) -> Iterator[Piece]:
    with tempfile.TemporaryFile() as whole:  # the end of such a file is read first
        for chunk in chunks:
            whole.write(chunk)
        whole.seek(0)
        for piece in parquet_pieces(cast(BinaryIO, whole)):
            if interruption.is_set():
                return
            yield piece


def _size(file: Path) -> int | None:
    return None if file == STDIN or not file.is_file() else file.stat().st_size


def _position(raw: BinaryIO) -> int:
    return raw.tell() if raw.seekable() else 0


def _progress() -> Progress:
    console = Console(stderr=True, highlight=False, emoji=False)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TextColumn("{task.fields[events]} events"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
