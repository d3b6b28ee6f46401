"""The report of `tailrace ingest`: what is said of each file on standard error, and of all in the end."""

from pathlib import Path

from msgspec import Struct
from rich.console import Console

from tailrace.cli.file_chunks import shown_name
from tailrace.cli.ingest_sender import PieceOutcome
from tailrace.cli.output import counted, printable
from tailrace.cli.pieces import Format, Piece

MAX_TOLD = 20  # refusals of a file that are listed


class IngestTotals(Struct):
    """What became of all files."""

    ingested: int = 0
    failed: int = 0
    broken: int = 0
    unread: int = 0

    def add(self, outcome: PieceOutcome) -> None:
        """Count a piece."""
        self.ingested += outcome.ingested
        self.failed += outcome.failed

    def summary(self) -> str:
        """Say it in a line."""
        parts = [f"ingested {counted(self.ingested, 'event')}", f"{self.failed} failed"]
        if self.broken:
            parts.append(f"{counted(self.broken, 'file')} not read to the end")
        if self.unread:
            parts.append(f"{counted(self.unread, 'file')} not begun")
        return ", ".join(parts)


class FileReport:
    """What is said of one file on standard error: a line for each refused event, of many the first."""

    def __init__(self, console: Console, file: Path) -> None:
        self._console = console
        self._name = shown_name(file)
        self._refusals = self._invalid = self._plain = 0
        self.events = 0  # that the file had so far

    def outcome(self, piece: Piece, outcome: PieceOutcome) -> None:
        """Tell of a piece that was sent."""
        self.events += outcome.ingested + outcome.failed
        self._plain += piece.unread
        for failure in outcome.failures:
            self._refusals += 1
            if self._refusals <= MAX_TOLD:
                self._say(f"{failure.place}: {failure.reason}")
        try:
            piece.body.decode()
        except UnicodeDecodeError:
            self._invalid += sum(1 for line in piece.body.split(b"\n") if not _is_utf8(line))

    def recognised(self, form: Format) -> None:
        """Tell for what a file was taken whose name does not say it."""
        self._say(f"taken for {form}; --format says otherwise")

    def broken(self, error: Exception) -> None:
        """Tell why the file was not read to its end."""
        part = f"not read beyond event {self.events - 1}" if self.events else "nothing of it was sent"
        self._say(f"{part}: {error}")

    def end(self) -> None:
        """Tell what holds for the file as a whole."""
        if self._refusals > MAX_TOLD:
            self._say(f"and {self._refusals - MAX_TOLD} more refusals")
        if self._plain:
            self._say(f"{counted(self._plain, 'line')} not in the format, sent with the whole line as message")
        if self._invalid:
            self._say(
                f"{counted(self._invalid, 'line')} with bytes that are not UTF-8, which are lost: "
                "give --encoding, such as latin-1"
            )

    def _say(self, text: str) -> None:
        self._console.print(printable(f"{self._name}: {text}"), markup=False, soft_wrap=True)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
