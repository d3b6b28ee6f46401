"""The interruption of a command by a signal, so that it ends its work in good order."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from tailrace.cli.errors import CommandError

ENDING = (signal.SIGINT, signal.SIGTERM)  # of Ctrl-C, and of `timeout` and supervisors
_SIGNALLED = 128  # and the signal's number: exit code of what a signal ended, as shells have it


def _ending() -> list[signal.Signals]:
    """Return the signals that end the command: those that whoever started it has it ignore, as scripts have what they
    start in the background ignore Ctrl-C, stay ignored.
    """
    return [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]


class Interruption(threading.Event):
    """Is set where a signal ends the reading."""

    number = 0  # of the signal

    @property
    def exit_code(self) -> int:
        """The exit code of a command that the signal ended."""
        return _SIGNALLED + self.number


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Ctrl-C and SIGTERM set the event, so that what was read is still sent; a second one ends the command at once."""
    stop = Interruption()
    ending = _ending()

    def interrupt(number: int, frame: FrameType | None) -> None:
        for each in ending:
            signal.signal(each, signal.default_int_handler if each is signal.SIGINT else signal.SIG_DFL)
        stop.number = number
        stop.set()

    with _handled_by(interrupt, ending):
        yield stop


class _Stopped(BaseException):
    """A signal came."""


@contextmanager
def stoppable(advice: str) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop what is under way, which tidies up; a second one ends the command at once.

    Raise CommandError with the advice, and the exit code that shells have for the signal. Beside the main thread, which
    alone gets signals, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    number = 0
    ending = _ending()

    def stop(found: int, frame: FrameType | None) -> None:
        nonlocal number
        number = found
        for each in ending:
            signal.signal(each, signal.SIG_DFL)
        raise _Stopped

    try:
        with _handled_by(stop, ending):
            yield
    except _Stopped as error:
        raise CommandError(f"stopped by {signal.Signals(number).name}; {advice}", _SIGNALLED + number) from error


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None], ending: Sequence[signal.Signals]) -> Iterator[None]:
    before = [signal.signal(number, handler) for number in ending]
    try:
        yield
    finally:
        for number, former in zip(ending, before, strict=True):
            signal.signal(number, former)
