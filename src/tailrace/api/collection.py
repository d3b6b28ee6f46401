"""What resources do alike: the documents of one area, such as the annotations, of the organisation asked for."""

import asyncio
import secrets
import string
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from tailrace.access import Grant, allows, require
from tailrace.access.capabilities import EVERY_DATASET
from tailrace.api.services import Services
from tailrace.events import NotFound
from tailrace.storage.documents import Document

ID_LENGTH = 20  # characters, beside the prefix
_ALPHABET = string.ascii_letters + string.digits


class Collection(Struct, frozen=True, eq=False):
    """Reads and changes them, as `DocumentStore` does, from the event loop and for who asks."""

    name: str
    services: Services
    grant: Grant
    unique: str = ""  # member of the body that no two of them have in common

    async def all(self) -> list[Document]:
        """Return all, oldest first."""
        return await asyncio.to_thread(self.services.documents.list_in, self.grant.organisation, self.name)

    async def get(self, document_id: str) -> Document:
        """Return one; raise NotFound."""
        return await asyncio.to_thread(self.services.documents.get, self.grant.organisation, self.name, document_id)

    async def add(self, body: Mapping[str, Any], document_id: str | None = None) -> Document:
        """Add a new one; raise BadRequest, Conflict."""
        return await asyncio.to_thread(
            self.services.documents.add,
            self.grant.organisation,
            self.name,
            body,
            user_id=self.grant.user_id,
            document_id=document_id,
            unique=self.unique,
        )

    async def replace(
        self, document_id: str, change: Callable[[Document], Mapping[str, Any]], version: int | None = None
    ) -> Document:
        """Put what `change` makes of one in its place; raise NotFound, VersionMismatch, Conflict."""
        return await asyncio.to_thread(
            self.services.documents.replace,
            self.grant.organisation,
            self.name,
            document_id,
            change,
            user_id=self.grant.user_id,
            version=version,
            unique=self.unique,
        )

    async def delete(self, document_id: str) -> None:
        """Delete one; raise NotFound."""
        await asyncio.to_thread(self.services.documents.delete, self.grant.organisation, self.name, document_id)


def new_id(prefix: str = "") -> str:
    """Return an id that nobody guesses."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))


def require_on(grant: Grant, *, capability: str, action: str, dataset: str, missing: str) -> None:
    """Raise Forbidden where what is of a dataset, of any for "", is not the token's to act on.

    Raise NotFound with `missing` where it may not even read it, so that nobody learns what there is beside their own.
    """
    of = dataset or EVERY_DATASET
    if not allows(grant, capability=capability, action="read", dataset=of):
        raise NotFound(missing)
    require(grant, capability=capability, action=action, dataset=of)
