"""The protocols that a server speaks."""

from tailrace.protocols import axiom, baselime, datamix, moesif
from tailrace.protocols.doors import elastic, firehose, loki, openobserve, otlp, victorialogs
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
)
