"""String functions."""

from tailrace.query.functions.table import Context, table
from tailrace.query.values import LONG, STRING, Value, coalesce, fn, long, string, text_node

FUNCTIONS, _add = table("string")


_add("strlen", "text:text", LONG, lambda c, text: long(fn("length", text.sql)),
     "Number of characters.", 'print strlen("héllo")', 5)  # fmt: skip
_add("toupper", "text:text", STRING, lambda c, text: string(fn("upper", text.sql)),
     "The text in capitals.", 'print toupper("aé")', "AÉ")  # fmt: skip
_add("tolower", "text:text", STRING, lambda c, text: string(fn("lower", text.sql)),
     "The text in small letters.", 'print tolower("AÉ")', "aé")  # fmt: skip


def _strcat(context: Context, *arguments: Value) -> Value:
    return string(fn("concat", *(coalesce(each.sql, text_node("")) for each in arguments)))


_add("strcat", "values:text*", STRING, _strcat,
     "The values, written out, one after the other; a null adds nothing.",
     'print strcat("a", 1, true)', "a1true", least=1, most=64)  # fmt: skip
