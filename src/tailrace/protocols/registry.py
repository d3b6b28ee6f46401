"""The protocols that a server speaks."""

from tailrace.protocols import axiom, baselime, datamix, moesif
from tailrace.protocols.doors import (
    datadog,
    elastic,
    firehose,
    honeycomb,
    journald,
    loki,
    openobserve,
    otlp,
    splunk,
    victorialogs,
)
from tailrace.protocols.http import Protocol

PROTOCOLS: tuple[Protocol, ...] = (
    axiom.PROTOCOL,
    baselime.PROTOCOL,
    datamix.PROTOCOL,
    moesif.PROTOCOL,
    loki.PROTOCOL,
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
