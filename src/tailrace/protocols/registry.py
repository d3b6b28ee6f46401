"""The protocols that a server speaks."""

from tailrace.protocols import axiom, baselime, datamix, moesif
from tailrace.protocols.doors import elastic, firehose, loki, openobserve, victorialogs
from tailrace.protocols.doors import loki
from tailrace.protocols.doors import otlp
from tailrace.protocols.doors import loki, otlp
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
