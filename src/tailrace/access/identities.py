"""Identities: who a provider of single sign-on says that a person is, and which user that is.

A person is found by issuer and subject, which alone never change (OpenID Connect Core 1.0, section 5.7), from the first
sign-in on; at that one by the verified email.
"""

import uuid
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from sqlalchemy import Connection, delete, insert, select

from tailrace.access.capabilities import FIRST_ORGANISATION
from tailrace.access.names import checked_name
from tailrace.access.users import checked_email, email_holder
from tailrace.events import BadRequest, Forbidden
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import group_members, groups, identities, memberships, timestamp, users


class Identity(Struct, frozen=True):
    """A person, as a provider knows them."""

    issuer: str
    subject: str  # of the issuer's people this one, for ever
    email: str = ""
    is_verified: bool = False  # the email
    name: str = ""
    groups: frozenset[str] | None = None  # names of groups; None where the provider is not asked for them


class BegunSignIn(Struct, frozen=True):
    """A sign-in that has begun: the provider's page to go on at, and what the browser keeps until it is back."""

    url: str
    secret: str
    lasts_s: float  # that it may take


class ProviderAnswer(Struct, frozen=True, rename="camel"):
    """What the provider sent the browser back with (RFC 6749, section 4.1.2; `iss` is that of RFC 9207)."""

    state: str
    code: str = ""
    iss: str = ""
    error: str = ""
    error_description: str = ""


class IdentityProvider(Protocol):
    """A provider of single sign-on."""

    @property
    def name(self) -> str:
        """Its name for people."""

    @property
    def new_user_role(self) -> str:
        """The role of users that are made of its people; "" where none are."""

    async def begin(self, redirect_uri: str) -> BegunSignIn:
        """Begin a sign-in, which comes back to a URL."""

    async def complete(self, secret: str, answer: ProviderAnswer, redirect_uri: str) -> Identity:
        """Return who signed in; raise TailraceError."""


class IdentifiedUser(Struct, frozen=True):
    """The user that a person is."""

    user_id: str
    is_new: bool  # made now


class IdentityStore:
    """The users of a database, by their identities."""

    def __init__(self, database: Database, invalidation: Invalidation, clock: Callable[[], float]) -> None:
        self._database = database
        self._invalidation = invalidation
        self._clock = clock

    def identify(self, identity: Identity, new_user_role: str = "") -> IdentifiedUser:
        """Return the user of a person, whose groups become those of the identity.

        Where there is none, make one with a role in the first organisation, if a role is given. Raise Forbidden where
        there is to be none, where the email is not verified, and where another account of the provider has the user.
        """
        with self._database.reading() as connection:
            user_id = _known_user(connection, identity)
            if user_id is not None and not _changed_groups(connection, identity, user_id):
                return IdentifiedUser(user_id, is_new=False)
        with self._invalidation.changing() as connection:
            user = self._found_or_made(connection, identity, new_user_role)
            _set_groups(connection, identity, user.user_id)
        return user

    def _found_or_made(self, connection: Connection, identity: Identity, new_user_role: str) -> IdentifiedUser:
        known = _known_user(connection, identity)
        if known is not None:
            return IdentifiedUser(known, is_new=False)
        if not identity.email:
            raise Forbidden("the provider does not tell your email, by which users are found")
        if not identity.is_verified:
            raise Forbidden(f"the provider has not verified that the email {identity.email!r} is yours")
        user_id = email_holder(connection, checked_email(identity.email))
        if user_id is None and not new_user_role:
            raise Forbidden(f"there is no user with the email {identity.email!r}: an owner or an admin adds you")
        if user_id is not None and _has_identity(connection, identity.issuer, user_id):
            raise Forbidden(
                f"the user with the email {identity.email!r} signs in by another account of the provider: if that is "
                "yours no more, have the user removed and added again"
            )
        now = timestamp(self._clock())
        is_new = user_id is None
        if user_id is None:
            user_id = str(uuid.uuid4())
            connection.execute(
                insert(users).values(id=user_id, name=_user_name(identity), email=identity.email, created_at=now)
            )
            connection.execute(
                insert(memberships).values(
                    user_id=user_id, organisation=FIRST_ORGANISATION, role=new_user_role, created_at=now
                )
            )
        connection.execute(
            insert(identities).values(issuer=identity.issuer, subject=identity.subject, user_id=user_id, created_at=now)
        )
        return IdentifiedUser(user_id, is_new)


def _known_user(connection: Connection, identity: Identity) -> str | None:
    """Return the user that signed in with an identity before, and is in an organisation still."""
    same = (identities.c.issuer == identity.issuer) & (identities.c.subject == identity.subject)
    user_id: str | None = connection.scalar(
        select(identities.c.user_id).join(memberships, memberships.c.user_id == identities.c.user_id).where(same)
    )
    return user_id


def _has_identity(connection: Connection, issuer: str, user_id: str) -> bool:
    mine = (identities.c.issuer == issuer) & (identities.c.user_id == user_id)
    return connection.scalar(select(identities.c.subject).where(mine)) is not None


def _user_name(identity: Identity) -> str:
    """Return the name of a new user: the person's, their email where that cannot be one."""
    try:
        return checked_name(identity.name.strip(), "user")
    except BadRequest:
        return identity.email


def _changed_groups(connection: Connection, identity: Identity, user_id: str) -> tuple[set[str], set[str]] | None:
    """Return the ids of the groups that a user is to be in and those they are in; None where these are the same."""
    if identity.groups is None:
        return None
    of_first = groups.c.organisation == FIRST_ORGANISATION
    member = (memberships.c.user_id == user_id) & (memberships.c.organisation == FIRST_ORGANISATION)
    if connection.scalar(select(memberships.c.user_id).where(member)) is None:
        return None
    rows = connection.execute(select(groups.c.id, groups.c.name).where(of_first)).all()
    wanted = {row.id for row in rows if row.name in identity.groups}
    current = set(connection.scalars(select(group_members.c.group_id).where(group_members.c.user_id == user_id)))
    current &= {row.id for row in rows}
    return None if wanted == current else (wanted, current)


def _set_groups(connection: Connection, identity: Identity, user_id: str) -> None:
    changed = _changed_groups(connection, identity, user_id)
    if changed is None:
        return
    wanted, current = changed
    left = (group_members.c.user_id == user_id) & group_members.c.group_id.in_(current - wanted)
    connection.execute(delete(group_members).where(left))
    for group_id in sorted(wanted - current):
        connection.execute(insert(group_members).values(group_id=group_id, user_id=user_id))
