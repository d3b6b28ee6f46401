"""`tailrace import`: events of files, of another Tailrace server or of Axiom, each once though it may be stopped."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, BinaryIO

import httpx
import typer
from msgspec import Struct

from tailrace.cli.client import (
    WHERE_ELSE,
    ServerChoice,
    Target,
    connect,
    json_of,
    message_of,
    quoted,
    refused,
    send_with_retries,
    server_command,
    unreachable,
)
from tailrace.cli.completion import dataset_names
from tailrace.cli.errors import FAILED, CommandError, NotFoundError
from tailrace.cli.event_pages import MEMBERS_OF_SERVER, event_count, event_pages, time_pages
from tailrace.cli.export import EARLIEST, option_moment
from tailrace.cli.file_chunks import UNREADABLE, opened, read_chunks
from tailrace.cli.import_lines import converted, elastic, loki, own
from tailrace.cli.import_state import ImportState, PendingBody
from tailrace.cli.ingest_sender import read_outcome
from tailrace.cli.interruption import Interruption, interruptible
from tailrace.cli.output import counted, printable
from tailrace.cli.pieces import MAX_PIECE_BYTES, BadFile, Format, Piece, format_of, parquet_pieces, pieces
from tailrace.cli.times import is_relative, shown
from tailrace.cli.transfer import TransferProgress, transfer_progress

AXIOM_URL = "https://api.axiom.co"
NDJSON = "application/x-ndjson"
MAX_TOLD = 20  # refused events that are listed
BODY_REFUSED = frozenset({400, 413, 415, 422})


class ImportSource(StrEnum):
    """Where events come from."""

    FILES = "files"
    ELASTIC = "elastic"
    LOKI = "loki"
    TAILRACE = "tailrace"
    AXIOM = "axiom"


SERVERS = (ImportSource.TAILRACE, ImportSource.AXIOM)
CONVERTERS = {ImportSource.FILES: own, ImportSource.ELASTIC: elastic, ImportSource.LOKI: loki}
PARAMS = {ImportSource.ELASTIC: {"timestamp-field": "@timestamp"}}


class _Import(Struct, frozen=True):
    """What is imported."""

    dataset: str
    source: ImportSource
    files: tuple[Path, ...]
    origin: Target | None  # the server
    origin_dataset: str
    start: datetime
    end: datetime

    @property
    def identity(self) -> str:
        """What tells it from any other import."""
        if self.origin is not None:
            range_ = f"{shown(self.start)} to {shown(self.end)}"
            return f"{self.origin.url} {self.origin_dataset} from {range_} into {self.dataset}"
        files = ", ".join(
            f"{file.absolute()} ({file.stat().st_size} bytes, {file.stat().st_mtime_ns})" for file in self.files
        )
        return f"{self.source}: {files} into {self.dataset}"


@server_command
def import_events(  # long: its options
    dataset: Annotated[str, typer.Argument(help="Dataset to import into.", autocompletion=dataset_names)],
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FILE...", help="Files: .ndjson, .jsonl, .json, .parquet, also gzip or zstd of them."),
    ] = None,
    source: Annotated[
        ImportSource, typer.Option("--from", help="What the files are of, or the server that has the events.")
    ] = ImportSource.FILES,
    source_url: Annotated[
        str | None,
        typer.Option("--source-url", metavar="URL", help="The other server; of Axiom the default is its API."),
    ] = None,
    source_token: Annotated[
        str | None,
        typer.Option(
            "--source-token", envvar="TAILRACE_SOURCE_TOKEN", metavar="TOKEN", help="A token that may query there."
        ),
    ] = None,
    source_dataset: Annotated[
        str | None,
        typer.Option("--source-dataset", metavar="NAME", help="The dataset there; default: of the same name."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Events from then on: RFC 3339, or like -7d.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="Events before then; needed to go on later.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option("--state", metavar="FILE", help="Where it is noted how far it is; default: a file right here."),
    ] = None,
    *,
    server: ServerChoice,
) -> None:
    """Import events, each once: an import that was stopped goes on when it is run again with the same options.

    How far it is, is in a file in the current directory, with the one body that may have arrived; the server knows that
    by its idempotency key. A finished import that is run again sends nothing.

    Examples:

      tailrace import web export/web/*.ndjson.zst

      tailrace import web --from elastic dump.ndjson.gz

      tailrace import web --from axiom --source-token xaat-… --since 2026-01-01 --until 2026-06-01
    """
    wanted = _wanted(dataset, source, files or [], source_url, source_token, source_dataset, since, until)
    name = blake2b(wanted.identity.encode(), digest_size=6).hexdigest()
    noted = ImportState(state or Path(f"tailrace-import-{dataset}-{name}.json"), wanted.identity)
    if noted.now.is_done:
        print(f"{counted(noted.now.events, 'event')} were imported already; delete {noted.path} to do it again")
        return
    if noted.now.sent:
        typer.echo(f"goes on after {counted(noted.now.events, 'event')} ({noted.path})", err=True)
    with server.connect() as client, ExitStack() as stack, interruptible() as interruption:
        progress = stack.enter_context(transfer_progress(is_of_events=True))
        sender = _Sender(client, wanted, noted, progress)
        sender.send_pending()
        bodies = (
            _file_bodies(wanted, noted, progress)
            if wanted.origin is None
            else _page_bodies(stack.enter_context(connect(wanted.origin, server.cafile)), wanted, noted, progress)
        )
        _send_all(bodies, sender, interruption)
    if interruption.is_set():
        print(f"imported {counted(noted.now.events, 'event')} so far; run it again to go on")
        raise typer.Exit(interruption.exit_code)
    noted.finish()
    print(f"imported {counted(noted.now.events, 'event')}, {sender.failed} refused")
    if sender.failed:
        raise typer.Exit(FAILED)


def _wanted(
    dataset: str,
    source: ImportSource,
    files: Sequence[Path],
    url: str | None,
    token: str | None,
    source_dataset: str | None,
    since: str | None,
    until: str | None,
) -> _Import:
    """Return what is to be imported. Raise BadParameter."""
    now = datetime.now(UTC)
    if source not in SERVERS:
        if not files:
            raise typer.BadParameter("give the files to import", param_hint="FILE")
        for given, option in ((url, "--source-url"), (since, "--since"), (until, "--until")):
            if given:
                raise typer.BadParameter("it is for --from tailrace and axiom", param_hint=option)
        for file in files:
            if not file.is_file():
                raise typer.BadParameter(f"there is no file {file}", param_hint="FILE")
        return _Import(dataset, source, tuple(files), None, "", now, now)
    if files:
        raise typer.BadParameter(f"--from {source} reads no files", param_hint="FILE")
    url = url or (AXIOM_URL if source is ImportSource.AXIOM else None)
    if url is None:
        raise typer.BadParameter("give the address of the other server", param_hint="--source-url")
    if not token:
        raise typer.BadParameter("give a token of the other server", param_hint="--source-token")
    if until is None or is_relative(until):
        # Run again it would be another range, and so another import.
        raise typer.BadParameter("give a time that stays the same, such as 2026-06-01", param_hint="--until")
    end = option_moment(until, "--until", now)
    start = option_moment(since, "--since", EARLIEST)
    return _Import(dataset, source, (), Target(url.rstrip("/"), token), source_dataset or dataset, start, end)


def _send_all(bodies: Iterator[PendingBody], sender: "_Sender", interruption: Interruption) -> None:
    for body in bodies:
        if interruption.is_set():
            return
        sender.send(body)


class _Sender:
    """Sends bodies to the dataset, each noted before and after."""

    def __init__(self, client: httpx.Client, wanted: _Import, noted: ImportState, progress: TransferProgress) -> None:
        self.failed = 0
        self._client = client
        self._path = f"/v1/datasets/{quoted(wanted.dataset)}/ingest"
        self._params = PARAMS.get(wanted.source, {})
        self._noted = noted
        self._progress = progress

    def send_pending(self) -> None:
        """Send the body again that may have arrived."""
        if self._noted.now.pending is not None:
            self._send(self._noted.now.pending)

    def send(self, body: PendingBody) -> None:
        """Send the next body. Raise CommandError, after which it is pending."""
        self._noted.begin(body)
        self._send(body)

    def _send(self, body: PendingBody) -> None:
        headers = {"Content-Type": body.content_type, "Idempotency-Key": self._noted.key}
        try:
            answer = send_with_retries(
                lambda: self._client.post(self._path, params=self._params, content=body.body, headers=headers)
            )
        except httpx.TransportError as error:
            raise unreachable(self._client, error) from error
        if answer.status_code in BODY_REFUSED:
            self._refuse(body.events, f"{counted(body.events, 'event')} refused: {message_of(answer)}")
            self._noted.end(0)
            return
        if not answer.is_success:
            raise refused(self._client, answer)
        outcome = read_outcome(json_of(self._client, answer), self._noted.now.events + self.failed)
        for failure in outcome.failures:
            self._refuse(failure.events, f"{failure.place}: {failure.reason}")
        self._noted.end(outcome.ingested)
        self._progress.advance(body.events)

    def _refuse(self, events: int, reason: str) -> None:
        self.failed += events
        if self._progress.warnings < MAX_TOLD:
            self._progress.warn(printable(reason))


def _file_bodies(wanted: _Import, noted: ImportState, progress: TransferProgress) -> Iterator[PendingBody]:
    """Yield the bodies that files make, but those that were sent: the same of the same files at every run."""
    number = 0
    progress.expect(len(wanted.files), 0)
    progress.advance(noted.now.events)
    for file in wanted.files:
        try:
            with opened(file) as raw:
                for piece in _pieces(file, wanted.source, raw):
                    if number >= noted.now.sent:
                        yield PendingBody(piece.body, piece.events, piece.content_type, "")
                    number += 1
            progress.end_file(copied=True)
        except (BadFile, *UNREADABLE) as error:
            raise CommandError(f"{file} cannot be read to its end: {error}") from error


def _page_bodies(
    origin: httpx.Client, wanted: _Import, noted: ImportState, progress: TransferProgress
) -> Iterator[PendingBody]:
    """Yield the pages of another server after the last that was sent."""
    start, end = shown(wanted.start), shown(wanted.end)
    read = time_pages if wanted.source is ImportSource.AXIOM else event_pages
    with _naming_options_of_origin():
        progress.expect(0, event_count(origin, wanted.origin_dataset, start, end))
        progress.advance(noted.now.events)
        pages = read(
            origin,
            wanted.origin_dataset,
            start,
            end,
            cursor=noted.now.cursor,
            leave=MEMBERS_OF_SERVER,
            max_bytes=MAX_PIECE_BYTES,
        )
        for page in pages:
            yield PendingBody(b"".join(page.lines), len(page.lines), NDJSON, page.cursor)


@contextmanager
def _naming_options_of_origin() -> Iterator[None]:
    """Where the other server refuses, or is not there, name the options that it is given by."""
    try:
        yield
    except CommandError as error:
        message = str(error).replace("--token (TAILRACE_TOKEN)", "--source-token (TAILRACE_SOURCE_TOKEN)")
        message = message.replace(WHERE_ELSE, "check --source-url")
        if isinstance(error, NotFoundError):
            message = f"{message.partition(' (`tailrace ')[0]}; --source-dataset names the one at the other server"
        raise CommandError(message) from error


def _pieces(file: Path, source: ImportSource, raw: BinaryIO) -> Iterator[Piece]:
    """Yield the bodies that a file makes. Raise BadFile."""
    form = format_of(file.name) or (Format.NDJSON if source is not ImportSource.FILES else None)
    if form is None:
        raise BadFile("its name does not tell its format: it ends with .ndjson, .jsonl, .json or .parquet")
    if form is Format.PARQUET:
        yield from parquet_pieces(raw, leave=MEMBERS_OF_SERVER)
        return
    chunks = read_chunks(raw, file.suffix)
    if form is Format.JSON and source is not ImportSource.FILES:
        form = Format.NDJSON
    yield from pieces(converted(chunks, CONVERTERS[source]) if form is Format.NDJSON else chunks, form)
