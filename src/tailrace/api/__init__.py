"""The management and query HTTP API: datasets, tokens, the current user, SQL."""

from tailrace.api.application import Services, build
from tailrace.api.routes import ROUTES, ApiRoute, Need

__all__ = ["ROUTES", "ApiRoute", "Need", "Services", "build"]
