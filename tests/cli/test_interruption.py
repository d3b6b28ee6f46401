"""Signals that end a command, and those that it is to ignore."""

import signal

import pytest

from tailrace.cli.errors import CommandError
from tailrace.cli.interruption import interruptible, stoppable


def test_a_signal_that_the_command_was_started_to_ignore_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruptible() as interruption:
            signal.raise_signal(signal.SIGINT)
            assert not interruption.is_set()
            signal.raise_signal(signal.SIGTERM)
            assert interruption.exit_code == 143
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        with pytest.raises(CommandError, match="stopped by SIGTERM; again"):
            _signalled_twice()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def _signalled_twice() -> None:
    with stoppable("again"):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
