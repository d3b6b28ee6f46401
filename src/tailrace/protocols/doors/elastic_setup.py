"""What clients of Elasticsearch ask before they send events, and its answers.

There is nothing to set up. A template, policy, pipeline or data stream of any name is answered as one that is there and
does nothing, so that shippers do not send theirs; one that is sent all the same is acknowledged with a warning.
"""

from typing import Any

import msgspec

from tailrace.protocols.http import IngestService, Request, Response
from tailrace.protocols.tokens import TokenRule, grant_of

TOKENS = TokenRule(schemes=(b"apikey", b"basic", b"bearer"))
PRODUCT = (b"x-elastic-product", b"Elasticsearch")  # which Elastic's clients look for in every good answer
# The newest that all shippers take: later ones have templates for it, earlier Beats and Logstash refuse a later one,
# and OpenSearch's clients any from 8 on.
VERSION = "7.17.29"
CLUSTER = "tailrace"
NODE_ID = "tailrace"
UUID = "tailrace00000000000000"
NOT_KEPT = (
    b"warning",
    b'299 Tailrace "templates, policies, pipelines and data streams do nothing here, and are not kept"',
)
DEFAULT_PORT = "80"

_INFO = {
    "name": NODE_ID,
    "cluster_name": CLUSTER,
    "cluster_uuid": UUID,
    "version": {
        "number": VERSION,
        "distribution": "opensearch",  # without which OpenSearch's Logstash output refuses
        "build_flavor": "default",  # what Elastic's Logstash output wants
        "build_type": "docker",
        "build_hash": "unknown",
        "build_date": "1970-01-01T00:00:00Z",
        "build_snapshot": False,
        "lucene_version": "8.11.3",
        "minimum_wire_compatibility_version": "6.8.0",
        "minimum_index_compatibility_version": "6.0.0-beta1",
    },
    "tagline": "You Know, for Search",
}
_LICENSE = {"uid": UUID, "type": "basic", "mode": "basic", "status": "active"}
_FEATURES = ("data_streams", "ilm", "ml", "monitoring", "security", "watcher")


def json_response(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    """Return an answer in JSON."""
    return Response(status, msgspec.json.encode(value), headers=headers)


async def info(request: Request, service: IngestService) -> Response:
    """Answer `GET /` and `HEAD /`, to anyone; a token that is sent must be valid."""
    if b"authorization" in request.headers:
        grant_of(request, service, TOKENS)
    return json_response(_INFO)


async def license_info(request: Request, service: IngestService) -> Response:
    """Answer `GET /_license`: Logstash and Beats want one that is active."""
    grant_of(request, service, TOKENS)
    return json_response({"license": _LICENSE})


async def xpack(request: Request, service: IngestService) -> Response:
    """Answer `GET /_xpack`: no feature is available, so that Beats leave index lifecycles alone."""
    grant_of(request, service, TOKENS)
    features = {name: {"available": False, "enabled": False} for name in _FEATURES}
    return json_response({"license": _LICENSE, "features": features, "tagline": _INFO["tagline"]})


async def health(request: Request, service: IngestService) -> Response:
    """Answer `GET /_cluster/health`: green while events are let through; else raise why not."""
    grant_of(request, service, TOKENS)
    if service.closed is not None:
        raise service.closed
    counts = dict.fromkeys(
        ("relocating_shards", "initializing_shards", "unassigned_shards", "number_of_pending_tasks"), 0
    )
    said = {"cluster_name": CLUSTER, "status": "green", "timed_out": False, "number_of_nodes": 1}
    return json_response({**said, "number_of_data_nodes": 1, **counts, "active_shards_percent_as_number": 100.0})


async def nodes(request: Request, service: IngestService) -> Response:
    """Answer `GET /_nodes` and `/_nodes/http`, by which clients look for other nodes: the address that was asked."""
    grant_of(request, service, TOKENS)
    host = request.headers.get(b"host", b"").decode("latin-1")
    name, colon, port = host.rpartition(":")
    address = host if colon and port.isdigit() and name else f"{host}:{DEFAULT_PORT}"
    http = {"bound_address": [address], "publish_address": address}
    node = {"name": NODE_ID, "version": VERSION, "roles": ["data", "ingest"], "http": http}
    counts = {"total": 1, "successful": 1, "failed": 0}
    return json_response({"_nodes": counts, "cluster_name": CLUSTER, "nodes": {NODE_ID: node}})


async def refresh(request: Request, service: IngestService) -> Response:
    """Answer `/_refresh` and `/{index}/_refresh`: what is stored is visible to the next query."""
    grant_of(request, service, TOKENS)
    return json_response({"_shards": {"total": 1, "successful": 1, "failed": 0}})


async def template(request: Request, service: IngestService) -> Response:
    """Answer `/_index_template/{name}`."""
    name = request.params["name"]
    body = {"index_patterns": [name], "template": {}, "composed_of": []}
    return _setting(request, service, {"index_templates": [{"name": name, "index_template": body}]})


async def legacy_template(request: Request, service: IngestService) -> Response:
    """Answer `/_template/{name}`."""
    name = request.params["name"]
    return _setting(request, service, {name: {"index_patterns": [name], "settings": {}, "mappings": {}, "aliases": {}}})


async def policy(request: Request, service: IngestService) -> Response:
    """Answer `/_ilm/policy/{name}`."""
    return _setting(request, service, {request.params["name"]: {"version": 1, "policy": {"phases": {}}}})


async def pipeline(request: Request, service: IngestService) -> Response:
    """Answer `/_ingest/pipeline/{name}`."""
    return _setting(request, service, {request.params["name"]: {"processors": []}})


async def data_stream(request: Request, service: IngestService) -> Response:
    """Answer `/_data_stream/{name}`."""
    name = request.params["name"]
    stream = {
        "name": name,
        "timestamp_field": {"name": "@timestamp"},
        "indices": [],
        "generation": 1,
        "status": "GREEN",
    }
    return _setting(request, service, {"data_streams": [stream]})


def _setting(request: Request, service: IngestService, known: dict[str, Any]) -> Response:
    grant_of(request, service, TOKENS)
    if request.method in ("GET", "HEAD"):
        return json_response(known)
    return json_response({"acknowledged": True}, headers=(NOT_KEPT,))
