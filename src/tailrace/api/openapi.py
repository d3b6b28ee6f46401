"""The OpenAPI document, generated from the tables of routes and their types."""

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import UNSET, Struct

from tailrace import __version__
from tailrace.api.errors import Error
from tailrace.api.media import JSON
from tailrace.api.route import ANY_TOKEN, ApiRoute
from tailrace.protocols.http import BodyDoc, ParameterDoc, Protocol, Route

OPENAPI = "3.1.0"
REFERENCE = "#/components/schemas/{name}"
NEEDS = "x-tailrace-needs"  # member of an operation: the permission of its token
ABOUT = """\
Events come in over the protocols of {every}, and are queried and managed by {api}'s API.

The routes of {others} are shown under the mounts of their protocols ({mounts}), where there is no doubt which
protocol a request is for; their clients may also use the paths without.

Each route tells what its token needs as `capability:action`; the capabilities are those of `POST /v2/tokens`. Every
answer has the header `X-Axiom-Trace-Id`, and an error that sending the same again can help has `Retry-After`, in
seconds. A wrong method is 405, an unknown path 404."""

IDEMPOTENCY_KEY = ParameterDoc(
    "Idempotency-Key", "The same request with the same key gets the first answer, and stores nothing.", where="header"
)

_PARAMETER = re.compile(r"{(\w+)(:path)?}")
_PARAMETERS = {
    "dataset": "Name of the dataset.",
    "destination": "`system.application.environment`.",
    "field": "Name of the field; of one within another the whole path, joined by dots.",
    "index": "Name of the dataset, or of an index that a path names the dataset for.",
    "namespace": "The namespace that the events are of.",
    "secret": "A token.",
    "service": "The service that the events are of.",
    "token": "Id of the token.",
}

Types = Callable[[Any], dict[str, Any]]


class Operation(Struct, frozen=True):
    """A route as the document has it, whichever table it comes from. Types are as in `BodyDoc`."""

    method: str
    path: str
    area: str
    about: str
    needs: str
    security: tuple[str, ...]  # names of credentials, any of which is enough
    parameters: tuple[ParameterDoc, ...]
    bodies: Mapping[str, BodyDoc]  # by media type
    answers: Mapping[int, Mapping[str, Any]]  # by status and media type; errors too


def document(routes: Sequence[ApiRoute], protocols: Sequence[Protocol]) -> dict[str, Any]:
    """Return the document, as an object of JSON."""
    tokens = tuple(each.name for protocol in protocols if protocol.has_api for each in protocol.credentials)
    operations = [
        *(_of_protocol(route, protocol, tokens) for protocol in protocols for route in protocol.routes),
        *(_of_api(route, tokens) for route in routes),
    ]
    schema, components = _schemas([kind for operation in operations for kind in _types(operation)])
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation_object(operation, schema)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Tailrace",
            "version": __version__,
            "description": _about(protocols),
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": _tags(routes, protocols),
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _credentials(protocols)},
    }


def _about(protocols: Sequence[Protocol]) -> str:
    others = [protocol for protocol in protocols if not protocol.has_api and not protocol.is_door]
    return ABOUT.format(
        every=_listed([protocol.title for protocol in protocols]),
        api=_listed([protocol.title for protocol in protocols if protocol.has_api]),
        others=_listed([protocol.title for protocol in others]),
        mounts=", ".join(f"`{protocol.mount}`" for protocol in others),
    )


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def path_of(route: ApiRoute) -> str:
    """Return the path of a route as the document has it."""
    return _PARAMETER.sub(r"{\1}", route.path)


def mounted(route: Route, protocol: Protocol) -> str:
    """Return the path of a protocol's route as the document has it: where no other protocol has one."""
    return route.path if protocol.has_api or protocol.is_door else protocol.mount + route.path


def _of_api(route: ApiRoute, tokens: tuple[str, ...]) -> Operation:
    good: dict[str, Any] = {} if route.answer in (UNSET, None) else {JSON: route.answer}
    status = HTTPStatus.NO_CONTENT if route.answer is None else route.status
    refused = set(route.refusals)
    if route.permission is not None:
        refused |= {401, 403, 503}
    if "{" in route.path:
        refused.add(404)
    if route.body is not None:
        refused |= {400, 408, 413, 429}
    if route.parameters:
        refused.add(400)
    return Operation(
        route.method,
        path_of(route),
        _area(route),
        _first_line(route.handler),
        _needs(route),
        () if route.permission is None else tokens,
        route.parameters,
        {} if route.body is None else {JSON: BodyDoc(route.body, route.example)},
        {
            int(status): {**good, **route.media},
            **{each: {JSON: Error} for each in sorted(refused)},
            **{each: {JSON: kind} for each, kind in route.failures.items()},
        },
    )


def _of_protocol(route: Route, protocol: Protocol, tokens: tuple[str, ...]) -> Operation:
    doc = route.doc
    own = tuple(each.name for each in protocol.credentials)
    if doc is None:
        raise ValueError(f"{route.method} {route.path} of {protocol.name} has no Doc")
    return Operation(
        route.method,
        mounted(route, protocol),
        protocol.name,
        doc.about,
        "ingest:create on the dataset" if doc.credential and (protocol.has_api or protocol.is_door) else "",
        ((*tokens, *own) if protocol.is_door else own) if doc.credential else (),
        (*doc.parameters, IDEMPOTENCY_KEY) if doc.bodies else doc.parameters,
        doc.bodies,
        {
            **{
                status: {} if kind is None else {JSON: kind, **(doc.media if status == 200 else {})}
                for status, kind in doc.answers.items()
            },
            **{
                status: {protocol.error_media: protocol.error, **doc.refusal_media}
                for status in (*doc.refusals, *((422,) if doc.bodies else ()))
            },
            **{status: {JSON: kind} for status, kind in doc.failures.items()},
        },
    )


def _needs(route: ApiRoute) -> str:
    if route.permission is None:
        return ""
    if route.permission == ANY_TOKEN:
        return route.further_permission or "any valid token"
    needed = f"{route.permission.capability}:{route.permission.action}"
    return f"{needed}, {route.further_permission}" if route.further_permission else needed


def _area(route: ApiRoute) -> str:
    return route.handler.__module__.rpartition(".")[2]


def _first_line(thing: object) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def _tags(routes: Sequence[ApiRoute], protocols: Sequence[Protocol]) -> list[dict[str, str]]:
    """Return the areas in the order of the tables, each with the first line of its module."""
    modules = {protocol.name: protocol.render_error.__module__ for protocol in protocols}
    modules |= {_area(route): route.handler.__module__ for route in routes}
    return [{"name": area, "description": _first_line(sys.modules[name])} for area, name in modules.items()]


def _credentials(protocols: Sequence[Protocol]) -> dict[str, Any]:
    return {
        each.name: {"type": "http", "scheme": "bearer", "description": each.about}
        if each.header == "Authorization"
        else {"type": "apiKey", "in": "header", "name": each.header, "description": each.about}
        for protocol in protocols
        for each in protocol.credentials
    }


# Schemas


def _types(operation: Operation) -> Iterator[Any]:
    """Yield every type of an operation that needs a schema."""
    kinds = [each.type for each in operation.parameters]
    kinds += [body.type for body in operation.bodies.values()]
    kinds += [kind for answer in operation.answers.values() for kind in answer.values()]
    for kind in kinds:
        yield from (each for each in (kind if isinstance(kind, tuple) else (kind,)) if not isinstance(each, dict))


def _schemas(kinds: Sequence[Any]) -> tuple[Types, dict[str, Any]]:
    """Return a function from a type to its schema, and the component schemas that those refer to."""
    schemas, components = _with_short_names(*msgspec.json.schema_components(kinds, ref_template=REFERENCE))
    known = dict(zip(map(repr, kinds), schemas, strict=True))  # by repr, as some cannot be hashed

    def schema(kind: Any) -> dict[str, Any]:
        if isinstance(kind, tuple):
            return {"anyOf": [schema(each) for each in kind]}
        return kind if isinstance(kind, dict) else known[repr(kind)]

    return schema, components


def _with_short_names(
    schemas: Sequence[dict[str, Any]], components: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the same, where types of one name are told apart by the last part of their module's name, if that is
    enough.
    """
    short = {name: ".".join(name.split(".")[-2:]) for name in components}
    names = {name: each if list(short.values()).count(each) == 1 else name for name, each in short.items()}
    references = {REFERENCE.format(name=name): REFERENCE.format(name=each) for name, each in names.items()}

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [renamed(each) for each in value]
        return references.get(value, value) if isinstance(value, str) else value

    return [renamed(each) for each in schemas], {names[name]: renamed(each) for name, each in components.items()}


def _operation_object(operation: Operation, schema: Types) -> dict[str, Any]:
    operation_object: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}{re.sub(r'[^a-zA-Z0-9]', '_', operation.path)}",
        "tags": [operation.area],
        "summary": operation.about,
        "security": [{name: []} for name in operation.security],
        NEEDS: operation.needs,
    }
    if operation.needs:
        operation_object["description"] = f"Needs `{operation.needs}`."
    parameters = [_path_parameter(name, operation) for name, _ in _PARAMETER.findall(operation.path)]
    parameters += [
        {
            "name": each.name,
            "in": each.where,
            "description": each.about,
            "required": each.required,
            "schema": schema(each.type),
            **({"example": each.example} if each.example else {}),
        }
        for each in operation.parameters
    ]
    if parameters:
        operation_object["parameters"] = parameters
    if operation.bodies:
        content = {media: _content(body, schema) for media, body in operation.bodies.items()}
        operation_object["requestBody"] = {"required": True, "content": content}
    operation_object["responses"] = {
        str(status): {
            "description": HTTPStatus(status).phrase,
            **({"content": {media: {"schema": schema(kind)} for media, kind in answer.items()}} if answer else {}),
        }
        for status, answer in sorted(operation.answers.items())
    }
    return operation_object


def _path_parameter(name: str, operation: Operation) -> dict[str, Any]:
    about = _PARAMETERS.get(name, "Id of it.")
    if name == "id" and "/datasets/{id}" in operation.path:
        about = _PARAMETERS["dataset"]
    return {"name": name, "in": "path", "description": about, "required": True, "schema": {"type": "string"}}


def _content(body: BodyDoc, schema: Types) -> dict[str, Any]:
    example = {} if body.example is UNSET else {"example": body.example}
    return {"schema": schema(body.type), **example}
