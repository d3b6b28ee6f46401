"""Organisations, users, roles, groups, tokens, keys and sessions, and what each credential may do."""

from typing import TYPE_CHECKING

from tailrace.events.lazy import lazy_imports

if TYPE_CHECKING:
    from tailrace.access.access import Access
    from tailrace.access.audit import Actor, AuditEntry, AuditResource, is_audit
    from tailrace.access.browser_sessions import SignIn
    from tailrace.access.budget import Budget
    from tailrace.access.budgets import BudgetSpent, BudgetState, Usage
    from tailrace.access.capabilities import (
        FIRST_ORGANISATION,
        Capabilities,
        Grant,
        allows,
        allows_view,
        audit_dataset,
        is_foreign,
        may_query,
        require,
        require_changeable,
        require_no_audit,
        require_own,
        require_query,
    )
    from tailrace.access.keys import KeyGrant, KeyKind, KeyRecord
    from tailrace.access.organisations import Organisation
    from tailrace.access.rbac import CustomRole, GroupBody, RoleBody, UserGroup
    from tailrace.access.sessions import Sessions
    from tailrace.access.token_store import TokenSpec
    from tailrace.access.tokens import NO_EXPIRY, PersonalToken, TokenRecord
    from tailrace.access.users import Role, User
else:
    __getattr__ = lazy_imports(__name__, __file__)

__all__ = [
    "FIRST_ORGANISATION",
    "NO_EXPIRY",
    "Access",
    "Actor",
    "AuditEntry",
    "AuditResource",
    "Budget",
    "BudgetSpent",
    "BudgetState",
    "Capabilities",
    "CustomRole",
    "Grant",
    "GroupBody",
    "KeyGrant",
    "KeyKind",
    "KeyRecord",
    "Organisation",
    "PersonalToken",
    "Role",
    "RoleBody",
    "Sessions",
    "SignIn",
    "TokenRecord",
    "TokenSpec",
    "Usage",
    "User",
    "UserGroup",
    "allows",
    "allows_view",
    "audit_dataset",
    "is_audit",
    "is_foreign",
    "may_query",
    "require",
    "require_changeable",
    "require_no_audit",
    "require_own",
    "require_query",
]
