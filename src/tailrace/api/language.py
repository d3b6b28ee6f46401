"""The words of APL over HTTP, for editors that complete and explain them."""

import asyncio
from collections.abc import Iterable
from functools import cache
from typing import Protocol

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from tailrace.access import Grant
from tailrace.api.route import ANY_TOKEN, ApiRoute
from tailrace.api.services import Services


class Word(Struct, frozen=True):
    """An operator, a function or an aggregation."""

    name: str
    syntax: str
    about: str


class Language(Struct, frozen=True):
    """What a query may be made of."""

    operators: list[Word]
    functions: list[Word]
    aggregations: list[Word]


class _Signed(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def signature(self) -> str: ...

    @property
    def doc(self) -> str: ...


async def language(request: Request, services: Services, grant: Grant) -> Response:
    """Return the operators, functions and aggregations of APL, each with its syntax and what it does."""
    return Response(await asyncio.to_thread(_encoded), media_type="application/json")


@cache
def _encoded() -> bytes:
    # Imported late: a server that nobody asks for this need not load it.
    from tailrace.query.compile.aggregations import AGGREGATIONS
    from tailrace.query.compile.reference import OPERATORS
    from tailrace.query.functions import FUNCTIONS

    operators = [Word(name, each.syntax, each.doc) for name, each in sorted(OPERATORS.items())]
    return msgspec.json.encode(Language(operators, _words(FUNCTIONS.values()), _words(AGGREGATIONS.values())))


def _words(signed: Iterable[_Signed]) -> list[Word]:
    return sorted((Word(each.name, each.signature, each.doc) for each in signed), key=lambda word: word.name)


ROUTES = (ApiRoute("GET", "/tailrace/v1/apl", language, ANY_TOKEN, answer=Language),)
