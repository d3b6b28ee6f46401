"""The spawner: a small process that forks others for the server; it has one thread, so that forking is safe.

The server forks it before it starts its own threads; where that one ended, a new one is started as a program.
"""

import ctypes
import gc
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import NoReturn

import msgspec
from msgspec import Struct

PR_SET_PDEATHSIG = 1
MAX_REQUEST_BYTES = 64 * 1024
MAX_DESCRIPTORS = 16
ANSWER_TIMEOUT_S = 30.0  # a program that starts afresh imports all modules

Target = Callable[[bytes, Sequence[int]], None]

logger = logging.getLogger(__name__)


class Fork(Struct, frozen=True, tag=True):
    """With the descriptors that the process is given. Answered by its process id."""

    target: str  # module and name of what it calls, with a colon between them: `call(setup, descriptors)`
    setup: bytes


class Kill(Struct, frozen=True, tag=True):
    """Answered by the same process id."""

    pid: int


class Ended(Struct, frozen=True, tag=True):
    """Of a process whose channel is closed. Answered by the number of the signal that ended it, 0 where none did."""

    pid: int


_decode = msgspec.msgpack.Decoder(Fork | Kill | Ended).decode
_encode = msgspec.msgpack.Encoder().encode


class Spawner:
    """The server's side of the spawner. Thread-safe."""

    def __init__(self, connection: socket.socket, variables: Mapping[str, str] | None = None) -> None:
        """Take a connection to a spawner; the next one, should that end, is started with variables of its own."""
        self._connection = connection
        self._variables = variables
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def forked(cls) -> "Spawner":
        """Fork a spawner from this process, which must not have threads yet."""
        ours, theirs = _pair()
        if os.fork() == 0:
            ours.close()
            run(theirs)
        theirs.close()
        return cls(ours)

    @classmethod
    def started(cls, variables: Mapping[str, str] | None = None) -> "Spawner":
        """Start a spawner as a separate program, with variables beside those of this process."""
        return cls(_start(variables), variables)

    def fork(self, target: str, setup: bytes, descriptors: Sequence[int]) -> tuple[int, socket.socket]:
        """Return the process id of a new process, and a socket whose other end it has. Raise OSError.

        It calls `target` (module:name) with `setup` and its descriptors: the end of the socket, then copies of those
        given; it ends when that returns, and with the spawner.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                return self._asked(Fork(target, setup), [theirs.fileno(), *descriptors]), ours
            except BaseException:
                ours.close()
                raise

    def kill(self, pid: int) -> None:
        """Kill a process, if it has not ended yet."""
        self._asked(Kill(pid), [])

    def ended_by(self, pid: int) -> int:
        """Return the number of the signal that ended a process, 0 where it ended by itself. Raise OSError.

        Its end of the socket must be closed; it must not have been asked to be killed before that.
        """
        return self._asked(Ended(pid), [])

    def close(self) -> None:
        """End the spawner, and all of its processes with it."""
        with self._lock:
            self._closed = True
            self._connection.close()

    def _asked(self, request: Fork | Kill | Ended, descriptors: Sequence[int]) -> int:
        with self._lock:
            try:
                return self._exchange(request, descriptors)
            except OSError:
                if self._closed:
                    raise
                logger.warning("the process that forks others has ended; another one is started")
                self._connection.close()
                self._connection = _start(self._variables)
                return self._exchange(request, descriptors)

    def _exchange(self, request: Fork | Kill | Ended, descriptors: Sequence[int]) -> int:
        socket.send_fds(self._connection, [_encode(request)], descriptors)
        answer = self._connection.recv(64)
        if not answer:
            raise ConnectionResetError("the process that forks others has ended")
        number = int(answer)
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        return number


def _pair() -> tuple[socket.socket, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(ANSWER_TIMEOUT_S)
    return ours, theirs


def _start(variables: Mapping[str, str] | None) -> socket.socket:
    ours, theirs = _pair()
    with theirs:
        command = [sys.executable, "-m", "tailrace.processes", str(theirs.fileno())]
        subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **(variables or {})},
        )
    return ours


def run(connection: socket.socket) -> NoReturn:
    """Handle requests until the server has ended; never return."""
    try:
        _run(connection)
    except ConnectionError:
        pass  # the server ended before it received the reply
    except BaseException:
        logger.exception("the process that forks others has failed")
    finally:
        os._exit(0)


def _run(connection: socket.socket) -> None:
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # These are sent to all processes of a service; the server still answers requests then, and ends the spawner.
        signal.signal(number, signal.SIG_IGN)
    # A reader of the server's standard output waits until all processes have closed it.
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    gc.freeze()
    children: set[int] = set()
    ended: dict[int, int] = {}  # pid to signal, 0 for none; of those not yet asked about
    while True:
        body, descriptors, _, _ = socket.recv_fds(connection, MAX_REQUEST_BYTES, MAX_DESCRIPTORS)
        if not body:
            return
        _reap(children, ended)
        request = _decode(body)
        if isinstance(request, Kill):
            ended.pop(request.pid, None)
            if request.pid in children:
                os.kill(request.pid, signal.SIGKILL)
            connection.send(b"%d" % request.pid)
            continue
        if isinstance(request, Ended):
            connection.send(b"%d" % _ended_by(request.pid, children, ended))
            continue
        call = _target(request.target)  # here, so that it is imported once for all
        try:
            pid = os.fork()
        except OSError as error:
            connection.send(b"%d" % -(error.errno or 1))
        else:
            if pid == 0:
                connection.close()
                _become(call, request.setup, descriptors)
            children.add(pid)
            connection.send(b"%d" % pid)
        for descriptor in descriptors:
            os.close(descriptor)


def _target(name: str) -> Target:
    module, _, function = name.partition(":")
    target: Target = getattr(import_module(module), function)
    return target


def _become(call: Target, setup: bytes, descriptors: Sequence[int]) -> NoReturn:
    """Do the work of a new process, and end it."""
    try:
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        call(setup, descriptors)
    except BaseException:
        logger.exception("a process of the server has failed")
    finally:
        os._exit(0)


def _ended_by(pid: int, children: set[int], ended: dict[int, int]) -> int:
    if pid in children:
        # It closed its channel, so that it is ending, and this does not change by what; or it never would.
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        children.discard(pid)
        return _signal_of(status)
    return ended.pop(pid, int(signal.SIGKILL))  # a child of one that ended, as it ends with that


def _reap(children: set[int], ended: dict[int, int]) -> None:
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        children.discard(pid)
        ended[pid] = _signal_of(status)


def _signal_of(status: int) -> int:
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
