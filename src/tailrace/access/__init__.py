"""Organisations, users, roles, groups, tokens, keys and sessions, and what each credential may do."""

from typing import TYPE_CHECKING

from tailrace.events.lazy import lazy_imports

if TYPE_CHECKING:
    from tailrace.access.audit import Actor, Entry, Resource, is_audit
    from tailrace.access.capabilities import (
        FIRST_ORGANISATION,
        Capabilities,
        Grant,
        allows,
        allows_view,
        audit_dataset,
        is_foreign,
        require,
        require_changeable,
        require_no_audit,
        require_own,
    )
    from tailrace.access.keys import KeyGrant, KeyKind, KeyRecord
    from tailrace.access.people import Membership, Organisation, People, Role, User
    from tailrace.access.rbac import CustomRole, Group, GroupBody, Rbac, RoleBody
    from tailrace.access.sessions import Sessions
    from tailrace.access.store import Access, Replacement
    from tailrace.access.tokens import NO_EXPIRY, PersonalToken, TokenRecord
else:
    __getattr__ = lazy_imports(__name__, __file__)

__all__ = [
    "FIRST_ORGANISATION",
    "NO_EXPIRY",
    "Access",
    "Actor",
    "Capabilities",
    "CustomRole",
    "Entry",
    "Grant",
    "Group",
    "GroupBody",
    "KeyGrant",
    "KeyKind",
    "KeyRecord",
    "Membership",
    "Organisation",
    "People",
    "PersonalToken",
    "Rbac",
    "Replacement",
    "Resource",
    "Role",
    "RoleBody",
    "Sessions",
    "TokenRecord",
    "User",
    "allows",
    "allows_view",
    "audit_dataset",
    "is_audit",
    "is_foreign",
    "require",
    "require_changeable",
    "require_no_audit",
    "require_own",
]
