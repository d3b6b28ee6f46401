"""The management and query HTTP API: a module a resource, with its routes, what a token needs for them, and what
the audit trail says of them. OpenAPI is made from those.
"""

from tailrace.api.application import Services, build
from tailrace.api.route import ApiRoute, AuditAction, Permission
from tailrace.api.routes import ROUTES

__all__ = ["ROUTES", "ApiRoute", "AuditAction", "Permission", "Services", "build"]
