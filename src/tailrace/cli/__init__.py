"""The command line: `tailrace serve`, `config`, and commands that call a server over HTTP."""

import os
import signal
import sys

from tailrace import __version__

__all__ = ["main"]


def main() -> None:
    """Run the command line. Exit code 1: the command failed; 2: it was called the wrong way."""
    if sys.argv[1:2] == ["serve"]:
        _heed_no_hangup()
        _choose_allocator()
    # Read when NumPy is imported. Its threads, one for each core, cost a start 60 ms, and the product of the times of
    # 10,000 events up to 30 times of what it takes without them, as they wait for each other where the cores have work.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Each command imports what it needs and no more: half of a short command's time would go to the others.
    if sys.argv[1:] == ["--version"]:
        print(f"tailrace {__version__}")
        return
    from tailrace.cli.app import build
    from tailrace.cli.errors import CommandError

    try:
        build(sys.argv[1:])(prog_name="tailrace")  # as it is called, however Python was; completion goes by it
    except CommandError as error:
        for line in str(error).splitlines():
            print(f"tailrace: {line}", file=sys.stderr)
        sys.exit(error.exit_code)


def _choose_allocator() -> None:
    """Have Arrow allocate with the C library's functions where that is glibc, whose free memory can be given back.

    Arrow's own allocator keeps a tenth more of what a load leaves behind. It is chosen when pyarrow is imported.
    """
    if "CS_GNU_LIBC_VERSION" in os.confstr_names:
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def _heed_no_hangup() -> None:
    """Ignore SIGHUP where there is no terminal that could be gone, until the server, which also says so, does it."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL and not (sys.stdin and sys.stdin.isatty()):
        signal.signal(signal.SIGHUP, lambda *_: None)  # which a child does not inherit, as it would SIG_IGN
