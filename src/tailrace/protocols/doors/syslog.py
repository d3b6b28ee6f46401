"""Syslog by TCP, TLS and UDP: RFC 5424 and 3164, framed as RFC 6587, 5425 and 5426 have it.

Whose events they are says the door's token, or one in a message's structured data, which is not stored:
`[tailrace@32473 token="…" dataset="…"]`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from msgspec import Meta

from tailrace.parsing import Limits
from tailrace.protocols.doors.syslog_frames import MAX_MESSAGE_BYTES, SyslogFrames
from tailrace.protocols.doors.syslog_messages import syslog_event
from tailrace.protocols.stream import Origin, StreamBatch, StreamDoor, StreamOptions

OWN_ELEMENT = "tailrace"  # of structured data, with any enterprise number
STRUCTURED_DATA = "structured_data"


class SyslogOptions(StreamOptions, frozen=True):
    """The options of the door."""

    time_zone: Annotated[
        str,
        Meta(
            min_length=1,
            description="Time zone of the messages whose time has none, as in `Europe/Berlin`; those of RFC 3164 have "
            "none.",
        ),
    ] = "UTC"


class _SyslogReader:
    """Adds messages to batches."""

    def __init__(self, options: SyslogOptions) -> None:
        self._zone = ZoneInfo(options.time_zone)

    def add(self, message: bytes, origin: Origin, batch: StreamBatch) -> None:
        """Add a message as an event; an empty one is none."""
        is_cut = len(message) > MAX_MESSAGE_BYTES
        text = message[:MAX_MESSAGE_BYTES].decode("utf-8", "replace").rstrip("\r\n\0")
        if not text:
            return
        event = syslog_event(text, batch.received_ns, self._zone)
        token, dataset = _destination(event)
        if is_cut:
            event["truncated"] = True
        event["remote_addr"] = origin.address
        if origin.common_name:
            event["tls_client"] = origin.common_name
        batch.add(event, token=token, dataset=dataset)


def _destination(event: dict[str, Any]) -> tuple[str, str]:
    """Take the token and the dataset out of a message, empty where it has none."""
    data = event.get(STRUCTURED_DATA)
    if not data:
        return "", ""
    found = {"token": "", "dataset": ""}
    for name in [name for name in data if name.partition("@")[0] == OWN_ELEMENT]:
        for parameter in found:
            value = data[name].pop(parameter, "")
            if isinstance(value, str) and value:
                found[parameter] = value
        if not data[name]:
            del data[name]
    if not data:
        del event[STRUCTURED_DATA]
    return found["token"], found["dataset"]


class SyslogSession(SyslogFrames):
    """The messages of a connection as events."""

    def __init__(self, options: SyslogOptions, origin: Origin) -> None:
        super().__init__()
        self._reader = _SyslogReader(options)
        self._origin = origin

    def open(self) -> bytes:
        """Return nothing: a server of syslog says nothing."""
        return b""

    def read(self, frames: Sequence[bytes], batch: StreamBatch) -> None:
        """Add messages to a batch."""
        for frame in frames:
            self._reader.add(frame, self._origin, batch)


class SyslogDatagrams:
    """Datagrams as events: each is a message (RFC 5426)."""

    def __init__(self, options: SyslogOptions, limits: Limits) -> None:
        self._reader = _SyslogReader(options)

    def read(self, datagrams: Sequence[tuple[bytes, Origin]], batch: StreamBatch, now_s: float) -> None:
        """Add messages to a batch."""
        for datagram, origin in datagrams:
            self._reader.add(datagram, origin, batch)


def _check(options: SyslogOptions) -> str:
    try:
        ZoneInfo(options.time_zone)
    except (ValueError, OSError):  # a ZoneInfoNotFoundError is a KeyError
        return f"setting syslog_time_zone: {options.time_zone!r} is no time zone"
    except KeyError:
        return f"setting syslog_time_zone: there is no time zone {options.time_zone!r}"
    return ""


DOOR = StreamDoor(
    name="syslog",
    title="Syslog",
    options=SyslogOptions,
    sessions=lambda options, limits: partial(SyslogSession, options),
    reader=SyslogDatagrams,
    check=_check,
)
