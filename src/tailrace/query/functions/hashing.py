"""Hashes, of values written out."""

import hashlib

import sqlglot.expressions as exp

from tailrace.query.functions.table import Context, table
from tailrace.query.functions.udf import udf
from tailrace.query.values import LONG, STRING, Value, cast, fn, infix, long, number_node, string

FUNCTIONS, _add = table("hash")


@udf("apl_sha512", [STRING], STRING)
def _sha512(text: str) -> str:
    return hashlib.sha512(text.encode()).hexdigest()


def _hash(context: Context, value: Value, salt: Value | None) -> Value:
    text = value.sql if salt is None else fn("concat_ws", cast_nul(), value.sql, salt.sql)
    unsigned = cast(fn("md5_number_lower", text), "HUGEINT")
    return long(cast(infix(exp.Sub, unsigned, number_node(2**63)), "BIGINT"))


def cast_nul() -> exp.Expr:
    """Return a separator that hardly any text has."""
    return fn("chr", number_node(31))


# fmt: off
_add("hash", "value:text, salt:text?", LONG, _hash,
     "A number of 64 bits that is the same for the same value; the algorithm may change between versions.",
     'print hash("a") == hash("a")', True)
_add("hash_md5", "value:text", STRING, lambda c, value: string(fn("md5", value.sql)),
     "MD5 in hexadecimal.", 'print hash_md5("a")', "0cc175b9c0f1b6a831c399e269772661")
_add("hash_sha1", "value:text", STRING, lambda c, value: string(fn("sha1", value.sql)),
     "SHA-1 in hexadecimal.", 'print hash_sha1("a")', "86f7e437faa5a7fce15d1ddcb9eaeaea377667b8")
_add("hash_sha256", "value:text", STRING, lambda c, value: string(fn("sha256", value.sql)),
     "SHA-256 in hexadecimal.", 'print hash_sha256("a")',
     "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb")
_add("hash_sha512", "value:text", STRING, lambda c, value: _sha512(value),
     "SHA-512 in hexadecimal.", 'print strlen(hash_sha512("a"))', 128)
# fmt: on
