"""Organisations: the tenants of a server, to which its datasets, tokens and users belong."""

import re
from collections.abc import Callable

from msgspec import Struct
from sqlalchemy import Connection, insert, select, update

from tailrace.access.capabilities import FIRST_ORGANISATION, Grant
from tailrace.access.names import checked_name
from tailrace.events import BadRequest, Conflict, Forbidden, NotFound
from tailrace.storage.database import Database
from tailrace.storage.invalidation import Invalidation
from tailrace.storage.tables import memberships, organisations, timestamp


class Organisation(Struct, frozen=True):
    """A tenant: its users and tokens see its own datasets, tokens and users only."""

    id: str
    name: str
    created_at: str  # RFC 3339, UTC


class OrganisationMembership(Struct, frozen=True):
    """An organisation of a user, and the user's role in it."""

    organisation: Organisation
    role: str


class OrganisationStore:
    """The organisations of a database."""

    def __init__(self, database: Database, invalidation: Invalidation, clock: Callable[[], float]) -> None:
        self._database = database
        self._invalidation = invalidation
        self._clock = clock

    def memberships(self, user_id: str) -> list[OrganisationMembership]:
        """Return the organisations of a user, the first joined first."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(organisations, memberships.c.role)
                .join(memberships, memberships.c.organisation == organisations.c.id)
                .where(memberships.c.user_id == user_id)
                .order_by(memberships.c.created_at, organisations.c.id)
            )
            return [OrganisationMembership(Organisation(row.id, row.name, row.created_at), row.role) for row in rows]

    def get_organisation(self, organisation: str) -> Organisation:
        """Return an organisation; raise NotFound."""
        with self._database.reading() as connection:
            return _found_organisation(connection, organisation)

    def create_organisation(self, name: str, *, actor: Grant) -> Organisation:
        """Create an organisation, whose owner is the user of `actor`. Raise BadRequest, Forbidden, Conflict."""
        name = checked_name(name, "organisation")
        if actor.kind != "personal" or actor.role != "owner" or actor.organisation != FIRST_ORGANISATION:
            raise Forbidden("only an owner of the first organisation makes others, with a personal token")
        made = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:64]
        if not made:
            raise BadRequest(f"the name of an organisation needs an ASCII letter or a digit, {name!r} has none")
        with self._invalidation.changing() as connection:
            if connection.scalar(select(organisations.c.id).where(organisations.c.id == made)) is not None:
                raise Conflict(f"there is an organisation {made!r} already")
            now = timestamp(self._clock())
            connection.execute(insert(organisations).values(id=made, name=name, created_at=now))
            connection.execute(
                insert(memberships).values(user_id=actor.user_id, organisation=made, role="owner", created_at=now)
            )
            return _found_organisation(connection, made)

    def update_organisation(self, organisation: str, *, name: str) -> Organisation:
        """Rename an organisation; its id stays. Raise BadRequest, NotFound."""
        name = checked_name(name, "organisation")
        with self._invalidation.changing() as connection:
            connection.execute(update(organisations).where(organisations.c.id == organisation).values(name=name))
            return _found_organisation(connection, organisation)


def _found_organisation(connection: Connection, organisation: str) -> Organisation:
    row = connection.execute(select(organisations).where(organisations.c.id == organisation)).first()
    if row is None:
        raise NotFound(f"organisation {organisation!r} not found")
    return Organisation(row.id, row.name, row.created_at)
