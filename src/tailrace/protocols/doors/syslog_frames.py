"""Messages of a syslog connection: counted octets, lines, or texts ended by NUL, told apart message by message.

Sources: RFC 6587 (sections 3.4.1 and 3.4.2), RFC 5425 (section 4.3), and what senders do that none of them has.
"""

import re

from tailrace.events import BadRequest, TailraceError

MAX_MESSAGE_BYTES = 64 * 1024  # Axiom's limit; what is beyond is cut off, and the message marked
MAX_COUNTED_BYTES = 16 * 1024 * 1024  # of a message; who says more does not speak syslog

_COUNT = re.compile(rb"([1-9][0-9]{0,8}) <")
_COUNT_BEGUN = re.compile(rb"[1-9][0-9]{0,8} ?")
_SEPARATORS = re.compile(rb"[\r\n\0]*")
_LINE_BEFORE_PRIORITY = re.compile(rb"\n(?=<[0-9]{1,3}>)")
_LINE_BEFORE_PRIORITY_BEGUN = 5  # bytes of it that do not show yet what they are
_HTTP = re.compile(rb"[A-Z]{3,7} [^ ]+ HTTP/1\.[01]\r?")
_TLS = b"\x16\x03"  # of a handshake: its record type, and the first byte of its version


class SyslogFrames:
    """The messages of one connection, whatever the pieces in which its bytes come.

    A message with more than MAX_MESSAGE_BYTES is returned with one byte more than these, and the rest is dropped.

    A message that begins with a number, a space and `<` has as many bytes; any other ends before the next LF or NUL. Of
    a sender whose messages end with NUL and begin with `<`, LF is a part of them, unless a priority follows it.
    """

    def __init__(self) -> None:
        self.fault: TailraceError | None = None
        self._buffer = b""
        self._at = 0  # up to there the buffer is read
        self._skip_bytes = 0  # of a message that is too long
        self._skips_line = False
        self._after_nul = False
        self._ends_with_nul = False
        self._is_first = True

    @property
    def pending_bytes(self) -> int:
        """How many bytes are held of a message that is not whole, or are still to be skipped."""
        return len(self._buffer) + (self._skip_bytes > 0) + self._skips_line

    def split(self, data: bytes) -> list[bytes]:
        """Take the next bytes; return the messages that are whole now."""
        self._buffer += data
        frames: list[bytes] = []
        while self.fault is None:
            frame = self._next(at_end=False)
            if frame is None:
                break
            if frame:
                frames.append(frame)
        self._buffer, self._at = self._buffer[self._at :], 0
        return frames

    def end(self) -> list[bytes]:
        """Return the messages that the end of the connection makes whole, such as a line without its LF."""
        frames: list[bytes] = []
        while self.fault is None and self._at < len(self._buffer):
            frame = self._next(at_end=True)
            if frame is None:
                break
            if frame:
                frames.append(frame)
        self._buffer, self._at = b"", 0
        return frames

    def _next(self, *, at_end: bool) -> bytes | None:
        """Return a message, nothing where something was skipped, None where more bytes are needed."""
        buffer = self._buffer
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(buffer) - self._at)
            self._skip_bytes -= skipped
            self._at += skipped
            return None if self._skip_bytes else b""
        if self._skips_line:
            return self._skip_line(at_end=at_end)
        separators = _SEPARATORS.match(buffer, self._at)
        assert separators is not None
        if separators.end() > self._at:
            self._after_nul = self._after_nul or b"\0" in separators[0]
            self._at = separators.end()
        if self._at == len(buffer):
            return None
        if self._is_first and buffer.startswith(_TLS[: len(buffer) - self._at], self._at):
            if len(buffer) - self._at >= len(_TLS):
                self.fault = BadRequest("TLS is spoken on a port without it")
            return None if not at_end or self.fault is not None else self._line(at_end=True)
        if self._after_nul and buffer[self._at] == b"<"[0]:
            self._ends_with_nul = True
        counted = _COUNT.match(buffer, self._at)
        if counted is not None:
            return self._counted(int(counted[1]), counted.end() - 1, at_end=at_end)
        begun = _COUNT_BEGUN.match(buffer, self._at)
        if begun is not None and begun.end() == len(buffer) and not at_end:
            return None
        return self._line(at_end=at_end)

    def _counted(self, size: int, start: int, *, at_end: bool) -> bytes | None:
        if size > MAX_COUNTED_BYTES:
            self.fault = BadRequest(f"a message is said to have {size} bytes")
            return None
        end = start + size
        kept = min(size, MAX_MESSAGE_BYTES + 1)
        if len(self._buffer) < start + kept:
            if at_end:
                came = len(self._buffer) - start
                self.fault = BadRequest(f"the connection ended after {came} of the {size} bytes of a message")
            return None
        frame = self._buffer[start : start + kept]
        self._skip_bytes = max(0, end - len(self._buffer)) if kept < size else 0
        self._at = min(end, len(self._buffer))
        self._after_nul = self._is_first = False
        return frame

    def _line(self, *, at_end: bool) -> bytes | None:
        start = self._at
        end = self._line_end(start, at_end=at_end)
        if end is None and len(self._buffer) - start <= MAX_MESSAGE_BYTES + 1:
            return None
        if end is None or end - start > MAX_MESSAGE_BYTES + 1:
            self._at = start + MAX_MESSAGE_BYTES + 1
            self._skips_line = True
            return self._buffer[start : self._at]
        self._at = end
        frame = self._buffer[start:end].rstrip(b"\r")
        if self._is_first and _HTTP.fullmatch(frame):
            self.fault = BadRequest("HTTP is spoken on a port of syslog")
            return None
        self._is_first = False
        self._note_end(end)
        return frame

    def _skip_line(self, *, at_end: bool) -> bytes | None:
        end = self._line_end(self._at, at_end=at_end)
        if end is None:
            # An LF at the end may turn out to be the end of the line.
            begun = self._buffer.rfind(b"\n", max(self._at, len(self._buffer) - _LINE_BEFORE_PRIORITY_BEGUN))
            self._at = begun if begun >= 0 and self._ends_with_nul else len(self._buffer)
            return None
        self._at = end
        self._skips_line = self._is_first = False
        self._note_end(end)
        return b""

    def _note_end(self, end: int) -> None:
        """Note what ended a message: the end of the buffer, LF or NUL."""
        by_nul = self._buffer.startswith(b"\0", end)
        self._after_nul = by_nul
        self._ends_with_nul = self._ends_with_nul and by_nul

    def _line_end(self, start: int, *, at_end: bool) -> int | None:
        """Return where a message ends that is not counted; None where that is not known yet."""
        buffer = self._buffer
        nul = buffer.find(b"\0", start)
        last = len(buffer) if nul < 0 else nul
        if not self._ends_with_nul:
            line = buffer.find(b"\n", start, last)
            return line if line >= 0 else (nul if nul >= 0 else len(buffer) if at_end else None)
        line_end = _LINE_BEFORE_PRIORITY.search(buffer, start, min(last + 1, len(buffer)))
        if line_end is not None:
            return line_end.start()
        return nul if nul >= 0 else len(buffer) if at_end else None
