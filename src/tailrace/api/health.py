"""Liveness, readiness and metrics."""

from typing import Literal

from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.route import PUBLIC, ApiRoute, Permission
from tailrace.api.services import Services, json_response
from tailrace.events.outcome import outcome_of

NOT_READY = "not_ready"  # for the counter of refusals


class Health(Struct, frozen=True):
    """The answer of a live process."""

    status: str = "ok"


class Readiness(Struct, frozen=True, omit_defaults=True):
    """The answer of a ready server; `degraded` names what cannot be used, where that is the status."""

    status: Literal["ok", "degraded"]
    degraded: list[str] = []


class Unready(Struct, frozen=True):
    """Why the server is not ready."""

    message: str
    status: str = "unavailable"
    code: int = 503


async def alive(request: Request, services: Services, grant: Grant | None) -> Response:
    """Return 200 while the process responds."""
    return json_response(Health())


async def ready(request: Request, services: Services, grant: Grant | None) -> Response:
    """Return 200 when the server ingests and queries, with what is degraded; else 503 with the reason."""
    health = await services.health()
    if health.reason:
        outcome = outcome_of(request.scope)
        outcome.reason, outcome.message = NOT_READY, health.reason
        return json_response(Unready(health.reason), 503)
    return json_response(Readiness("degraded" if health.degraded else "ok", list(health.degraded)))


async def metrics(request: Request, services: Services, grant: Grant | None) -> Response:
    """Return all metrics in the Prometheus text format."""
    return Response(await services.metrics(), headers={"content-type": CONTENT_TYPE_LATEST})


ROUTES = (
    ApiRoute("GET", "/healthz", alive, PUBLIC, answer=Health),
    ApiRoute("GET", "/readyz", ready, PUBLIC, answer=Readiness, failures={503: Unready}),
    ApiRoute("GET", "/metrics", metrics, Permission("server", "read"), media={"text/plain": str}),
)
