"""The protocols that a server speaks, and its doors that are no HTTP."""

from tailrace.protocols import axiom, baselime, datamix, moesif
from tailrace.protocols.doors import (
    datadog,
    elastic,
    firehose,
    fluent,
    gelf,
    gelf_streams,
    honeycomb,
    journald,
    loki,
    openobserve,
    otlp,
    prometheus,
    splunk,
    syslog,
    victorialogs,
)
from tailrace.protocols.http import Protocol
from tailrace.protocols.stream import StreamDoor

PROTOCOLS: tuple[Protocol, ...] = (
    axiom.PROTOCOL,
    baselime.PROTOCOL,
    datamix.PROTOCOL,
    moesif.PROTOCOL,
    gelf.PROTOCOL,
    loki.PROTOCOL,
    prometheus.PROTOCOL,
    elastic.PROTOCOL,
    firehose.PROTOCOL,
    victorialogs.PROTOCOL,
    openobserve.PROTOCOL,
    otlp.PROTOCOL,
    datadog.PROTOCOL,
    honeycomb.PROTOCOL,
    splunk.PROTOCOL,
    journald.PROTOCOL,
)
STREAM_DOORS: tuple[StreamDoor, ...] = (fluent.DOOR, gelf_streams.DOOR, syslog.DOOR)
