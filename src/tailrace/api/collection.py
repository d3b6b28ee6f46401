"""A collection: the documents of one resource, such as the annotations, of one organisation."""

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

ID_LENGTH = 20  # characters after the prefix
_ALPHABET = string.ascii_letters + string.digits


class Collection(Struct, frozen=True, eq=False):
    """The methods of `DocumentStore`, called from the event loop for the organisation and user of a grant."""

    name: str
    services: Services
    grant: Grant
    unique: str = ""  # member of the body that is unique in the collection

    async def all(self) -> list[Document]:
        """Return all documents, oldest first."""
        return await asyncio.to_thread(self.services.documents.list_in, self.grant.organisation, self.name)

    async def get(self, document_id: str) -> Document:
        """Return a document; raise NotFound."""
        return await asyncio.to_thread(self.services.documents.get, self.grant.organisation, self.name, document_id)

    async def add(self, body: Mapping[str, Any], document_id: str | None = None) -> Document:
        """Create a document; raise BadRequest, Conflict."""
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
        """Replace the body of a document with what `change` returns; raise NotFound, VersionMismatch, Conflict."""
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
        """Delete a document; raise NotFound."""
        await asyncio.to_thread(self.services.documents.delete, self.grant.organisation, self.name, document_id)


def new_id(prefix: str = "") -> str:
    """Return a random id that cannot be guessed."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))


def require_on(grant: Grant, *, capability: str, action: str, dataset: str, missing: str) -> None:
    """Raise Forbidden unless the grant covers an action on a resource of a dataset, "" for any dataset.

    Raise NotFound with the message `missing` unless it covers reading, so that existence is not disclosed.
    """
    of = dataset or EVERY_DATASET
    if not allows(grant, capability=capability, action="read", dataset=of):
        raise NotFound(missing)
    require(grant, capability=capability, action=action, dataset=of)
