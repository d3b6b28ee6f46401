"""The management and query HTTP API: datasets, tokens, the current user, SQL."""

from tailrace.api.application import Services, build
from tailrace.api.route import Act, ApiRoute, Need
from tailrace.api.routes import ROUTES

__all__ = ["ROUTES", "Act", "ApiRoute", "Need", "Services", "build"]
