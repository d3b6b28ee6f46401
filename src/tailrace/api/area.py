"""The documents of one area, such as the annotations, of the organisation that a request is for."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from tailrace.access import Grant
from tailrace.api.services import Services
from tailrace.storage.documents import Document


class Area(Struct, frozen=True, eq=False):
    """Reads and changes them, as `DocumentStore` does, from the event loop and for who asks."""

    name: str
    services: Services
    grant: Grant
    unique: str = ""  # member of the body that no two of them have in common

    async def all(self) -> list[Document]:
        """Return all, oldest first."""
        return await asyncio.to_thread(self.services.documents.list_in, self.grant.organisation, self.name)

    async def get(self, document_id: str) -> Document:
        """Return one; raises NotFound."""
        return await asyncio.to_thread(self.services.documents.get, self.grant.organisation, self.name, document_id)

    async def add(self, body: Mapping[str, Any], document_id: str | None = None) -> Document:
        """Add a new one; raises BadRequest, Conflict."""
        return await asyncio.to_thread(
            self.services.documents.add,
            self.grant.organisation,
            self.name,
            body,
            who=self.grant.user_id,
            document_id=document_id,
            unique=self.unique,
        )

    async def replace(
        self, document_id: str, change: Callable[[Document], Mapping[str, Any]], version: int | None = None
    ) -> Document:
        """Put what `change` makes of one in its place; raises NotFound, VersionMismatch, Conflict."""
        return await asyncio.to_thread(
            self.services.documents.replace,
            self.grant.organisation,
            self.name,
            document_id,
            change,
            who=self.grant.user_id,
            version=version,
            unique=self.unique,
        )

    async def delete(self, document_id: str) -> None:
        """Delete one; raises NotFound."""
        await asyncio.to_thread(self.services.documents.delete, self.grant.organisation, self.name, document_id)
