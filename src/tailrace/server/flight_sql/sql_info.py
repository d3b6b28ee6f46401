"""What a server of Flight SQL can do: the enum SqlInfo of `FlightSql.proto`. JDBC's driver asks for all of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from tailrace import __version__
from tailrace.query.sql import MAX_SQL_BYTES
from tailrace.server.flight_sql.schemas import SQL_INFO, SQL_INFO_VALUE

# By number, in the order of the union's members.
TEXTS = {
    0: "Tailrace",
    1: __version__,
    2: pa.__version__,
    504: '"',  # around names
    513: "\\",  # before a wildcard that is none
    514: "",  # further characters of names without quotes
    529: "schema",
    530: "procedure",
    531: "catalog",
}
BOOLEANS = {
    3: True,  # read only
    4: True,  # SQL
    5: False,  # Substrait
    9: False,  # the action CancelQuery: the query of a call that ends is stopped
    **dict.fromkeys((500, 501, 502), False),  # CREATE and DROP
    506: True,  # all tables that are listed can be read
    515: True,  # AS
    516: True,  # text || NULL is NULL
    518: True,  # aliases of tables
    519: False,  # which have to be other names
    520: True,  # expressions in ORDER BY
    521: True,  # ORDER BY what is not selected
    523: True,  # LIKE … ESCAPE
    **dict.fromkeys((524, 527), False),  # columns without nulls, constraints
    532: True,  # the catalog comes first in a name
    **dict.fromkeys((536, 537), False),  # FOR UPDATE, procedures
    539: True,  # correlated sub-queries
    556: False,
    **dict.fromkeys((563, 565, 566, 572, 573), False),  # transactions, updates in batches, savepoints
    **dict.fromkeys((574, 575, 576), False),  # named parameters, locators, functions by CALL
}
NUMBERS = {
    **dict.fromkeys((*range(541, 556), *range(558, 562)), 0),  # limits; 0 for none
    557: MAX_SQL_BYTES,
    562: 0,  # isolation by default: none; JDBC's driver takes it for no number of an enum
}
# Numbers of an enum, and sets of them as bits.
ENUMS = {
    8: 0,  # no transactions
    **dict.fromkeys((100, 101), 0),  # handles have no end
    **dict.fromkeys((503, 505), 0),  # the case of names: none of those that there are
    507: 3,  # nulls come last
    522: 0b11,  # GROUP BY what is not selected, and beyond
    525: 0b111,  # ODBC's grammar, extended
    526: 0b1,  # SQL-92, entry level
    528: 2,  # outer joins, full
    **dict.fromkeys((533, 534, 535), 0),  # actions on schemas and catalogs, WHERE CURRENT OF
    538: 0b1111,  # sub-queries in comparisons, EXISTS, IN and quantified
    540: 0b11,  # UNION, UNION ALL
    564: 0b1,  # isolation of transactions: none
    567: 0b10,  # results are read forward
    569: 0b10,  # and are not written to
    **dict.fromkeys((568, 570, 571), 0),
}
LISTS: Mapping[int, Sequence[str]] = dict.fromkeys(range(508, 513), ())  # keywords and functions beyond SQL's
CONVERSIONS: Mapping[int, Sequence[object]] = {517: ()}


def sql_info(numbers: Iterable[int]) -> pa.Table:
    """Return what is known of what is asked for, everything where that is nothing."""
    asked = set(numbers)
    found: list[int] = []
    kinds: list[int] = []
    offsets: list[int] = []
    members: list[pa.Array] = []
    parts: Sequence[Mapping[int, Any]] = (TEXTS, BOOLEANS, NUMBERS, ENUMS, LISTS, CONVERSIONS)
    for kind, (known, field) in enumerate(zip(parts, SQL_INFO_VALUE, strict=True)):
        chosen = {number: value for number, value in known.items() if not asked or number in asked}
        found += chosen
        kinds += [kind] * len(chosen)
        offsets += range(len(chosen))
        members.append(pa.array(list(chosen.values()), field.type))
    names = [field.name for field in SQL_INFO_VALUE]
    values = pa.UnionArray.from_dense(pa.array(kinds, pa.int8()), pa.array(offsets, pa.int32()), members, names)
    return pa.Table.from_arrays([pa.array(found, pa.uint32()), values], schema=SQL_INFO)
