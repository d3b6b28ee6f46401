"""APL text to its tree: recursive descent over the tokens, precedence climbing for operators."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from tailrace.query.apl import lexer
from tailrace.query.apl.errors import AplError, one_of, suggestion
from tailrace.query.apl.lexer import DATETIME, END, LONG, NAME, OPERATOR, REAL, STRING, TIMESPAN, Token
from tailrace.query.apl.tree import (
    Between,
    Binary,
    Call,
    Captured,
    Constant,
    Count,
    Datatable,
    Distinct,
    Expanded,
    Expression,
    Extend,
    Getschema,
    Index,
    Join,
    Labelled,
    Let,
    LiteralKind,
    MakeSeries,
    Member,
    Membership,
    MvExpand,
    Name,
    Named,
    Operator,
    Order,
    Parse,
    ParseKv,
    Pattern,
    Print,
    Program,
    Project,
    ProjectAway,
    ProjectKeep,
    ProjectRename,
    ProjectReorder,
    Query,
    Range,
    Redact,
    Reordered,
    Sample,
    SampleDistinct,
    Search,
    SeriesValue,
    Skipped,
    Sorted,
    Source,
    Star,
    Subquery,
    Summarize,
    Table,
    TableCall,
    Take,
    Top,
    Typed,
    Unary,
    Union,
    Where,
)

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 60  # of what stands inside of each other
MAX_CHAIN = 20_000  # operators of one expression or query

TYPES: dict[str, LiteralKind] = {
    "bool": "bool", "boolean": "bool", "int": "long", "long": "long", "real": "real", "double": "real",
    "string": "string", "datetime": "datetime", "date": "datetime", "timespan": "timespan", "time": "timespan",
    "dynamic": "dynamic",
}  # fmt: skip
"""Types by every name that APL has for them."""

SOURCES = ("union", "print", "datatable", "externaldata", "search")
JOIN_KINDS = ("inner", "innerunique", "leftouter", "rightouter", "fullouter", "leftanti", "leftantisemi", "anti",
              "rightanti", "rightantisemi", "leftsemi", "rightsemi")  # fmt: skip

_SYMBOLS = {
    "or": 1, "and": 2,
    "==": 3, "!=": 3, "<>": 3, "<": 3, "<=": 3, ">": 3, ">=": 3, "=~": 3, "!~": 3,
    "+": 4, "-": 4,
    "*": 5, "/": 5, "%": 5,
}  # fmt: skip
_COMPARISON = 3
WORD_OPERATORS = ("contains", "contains_cs", "startswith", "startswith_cs", "endswith", "endswith_cs", "has", "has_cs",
                  "hasprefix", "hasprefix_cs", "hassuffix", "hassuffix_cs")  # fmt: skip
NAMING = ("arg_max", "arg_min")  # whose arguments may be given names
LIST_OPERATORS = ("in", "has_any", "has_any_cs", "has_all")
_NEGATABLE = (*WORD_OPERATORS, *LIST_OPERATORS, "matches", "between")


def parse(text: str, *, check: Callable[[], None] = lambda: None) -> Program:
    """Return the tree of a query, with the `let`s before it. Raise AplError, located, and what `check()` raises, which
    is called over and over so that a long text can be given up."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise AplError("the query is not valid Unicode (it holds a lone surrogate)", error.start).located(
            text
        ) from error
    if size > MAX_BYTES:
        raise AplError(f"the query has {size} bytes, the limit is {MAX_BYTES}", kind="limit")
    try:
        return Parser(text, check).program()
    except AplError as error:
        raise error.located(text) from None


def parse_expression(text: str) -> Expression:
    """Return the tree of one scalar expression, as a virtual field has it. Raise AplError, located."""
    try:
        parser = Parser(text)
        expression = parser.expression()
        if parser.here.kind != END:
            parser.fail("an operator or the end of the expression")
        return expression
    except AplError as error:
        raise error.located(text) from None


class Parser:
    """The tokens of one text, and how far they are read."""

    def __init__(self, text: str, check: Callable[[], None] = lambda: None) -> None:
        self.text = text
        self.check = check
        self.tokens = lexer.tokens(text)
        self.position = 0
        self.depth = 0
        self.searching = False  # `name:text` is an operator only inside of search
        self.here = self.tokens[0]

    # Tokens

    def next(self) -> Token:
        token = self.here
        if self.position + 1 < len(self.tokens):
            self.position += 1
        self.here = self.tokens[self.position]
        return token

    def peek(self, ahead: int = 1) -> Token:
        return self.tokens[min(self.position + ahead, len(self.tokens) - 1)]

    def goto(self, position: int) -> None:
        self.position = position
        self.here = self.tokens[position]

    def fail(self, expected: str) -> NoReturn:
        meant = ": to compare, write '=='" if self.is_symbol("=") else ""
        raise AplError(f"met {self.here.in_message}, expected {expected}{meant}", self.here.at)

    def is_symbol(self, symbol: str) -> bool:
        return self.here.kind == OPERATOR and self.here.text == symbol

    def is_word(self, *words: str) -> bool:
        return self.here.kind == NAME and self.here.text in words

    def take_symbol(self, symbol: str) -> bool:
        if self.here.kind == OPERATOR and self.here.text == symbol:
            self.next()
            return True
        return False

    def take_word(self, *words: str) -> str | None:
        if self.here.kind == NAME and self.here.text in words:
            return self.next().text
        return None

    def symbol(self, symbol: str, why: str = "") -> Token:
        if not self.is_symbol(symbol):
            self.fail(f"{symbol!r}{why and ' ' + why}")
        return self.next()

    def word(self, *words: str) -> str:
        token = self.take_word(*words)
        if token is None:
            self.fail(one_of([repr(word) for word in words]))
        return token

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise AplError(f"more than {MAX_DEPTH} levels inside of each other, the limit", self.here.at, kind="limit")

    # Statements

    def program(self) -> Program:
        lets: list[Let] = []
        is_strict = False
        while True:
            while self.take_symbol(";"):
                pass
            if self.is_word("let") and self._names_ahead():
                lets.append(self._let())
            elif self.is_word("declare") and self.peek().text == "query_parameters":
                lets += self._query_parameters()
            elif self.is_word("set") and self.peek().kind == NAME:
                is_strict = self._set()
            else:
                break
            if self.here.kind != END and not self.is_symbol(";"):
                self.fail("';'")
        if self.here.kind == END:
            self.fail("a query, such as ['dataset'] | where …")
        query = self.query()
        while self.take_symbol(";"):
            pass
        if self.here.kind != END:
            if self.is_word("let"):
                raise AplError("a let stands before the query that uses it", self.here.at)
            self.fail("'|' or the end of the query")
        return Program(0, tuple(lets), query, is_strict)

    def _names_ahead(self) -> bool:
        token = self.peek()
        return token.kind == NAME or (token.kind == OPERATOR and token.text == "[")

    def _let(self) -> Let:
        at = self.next().at
        name = self.name("a name")
        self.symbol("=")
        if self._is_tabular():
            return Let(at, name, self.query())
        return Let(at, name, self.expression())

    def _query_parameters(self) -> list[Let]:
        """Parse `declare query_parameters (name: type = default, …)`: lets whose values the request may give."""
        self.next()
        self.next()
        self.symbol("(")
        parameters = []
        while not self.is_symbol(")"):
            at = self.here.at
            name = self.name("a parameter's name")
            self.symbol(":", "and a type")
            kind = self.type_name()
            default = self.expression() if self.take_symbol("=") else None
            parameters.append(Let(at, name, default, kind))
            if not self.take_symbol(","):
                break
        self.symbol(")", "or ','")
        return parameters

    def _set(self) -> bool:
        """Whether types are to be exact, which is all that can be set."""
        self.next()
        option = self.next()
        if option.text != "stricttypes":
            raise AplError(f"unknown option {option.text!r}; the only one is stricttypes", option.at)
        if not self.take_symbol("="):
            return True
        value = self.next()
        if value.text not in ("true", "false"):
            raise AplError("stricttypes is true or false", value.at)
        return value.text == "true"

    def _is_tabular(self) -> bool:
        """Whether what begins here, up to its end, is a query and not a value."""
        position = self.position
        token = self.tokens[position]
        while token.kind == OPERATOR and token.text == "(":
            position += 1
            token = self.tokens[position]
        following = self.tokens[min(position + 1, len(self.tokens) - 1)]
        if token.kind == NAME and token.text == "table" and following.kind == OPERATOR and following.text == "(":
            return True
        if self._is_range(position):
            return True
        if (
            token.kind == NAME
            and token.text in SOURCES
            and not (following.kind == OPERATOR and following.text in "=),;")
        ):
            return True
        unclosed = position - self.position
        for n in range(position, len(self.tokens)):
            token = self.tokens[n]
            if token.kind == OPERATOR and token.text == "|":
                return n > position
            if token.kind == OPERATOR and token.text == ")":
                unclosed -= 1
                if unclosed < 0:
                    return False
            if token.text in (")", "]") or (token.kind == STRING and self.tokens[n - 1].text == "["):
                continue
            adjoins = n == position or self.tokens[n - 1].end == token.at
            if not adjoins or not (token.kind in (NAME, LONG, REAL) or token.text in ("[", "-", ".", "*")):
                return False
        return False

    # Tabular

    def query(self) -> Query:
        self.deeper()
        at = self.here.at
        source = self.source()
        operators: list[Operator] = []
        while self.take_symbol("|"):
            operators.append(self.operator())
            if len(operators) > MAX_CHAIN:
                raise AplError(f"more than {MAX_CHAIN} operators, the limit", self.here.at, kind="limit")
        self.depth -= 1
        return Query(at, source, tuple(operators))

    def source(self) -> Source:
        token = self.here
        if self.take_symbol("("):
            inner = self.query()
            self.symbol(")", "at the end of the sub-query")
            return inner
        if self._is_table_call():
            self.next()
            self.next()
            named = self.expression()
            self.symbol(")")
            return TableCall(token.at, named)
        if self._is_range(self.position):
            return self._range()
        if token.kind == NAME and token.text in SOURCES:
            follows = self.peek()
            if not (follows.kind == END or (follows.kind == OPERATOR and follows.text in "|;),")):
                match token.text:
                    case "union":
                        self.next()
                        return self._union(token.at)
                    case "print":
                        self.next()
                        return Print(token.at, self.named_list())
                    case "datatable":
                        self.next()
                        return self._datatable(token.at)
                    case "search":
                        self.next()
                        return self._search(token.at, is_source=True)
                    case _:
                        raise AplError(
                            "externaldata is not supported: it would read from the network; ingest the data instead",
                            token.at,
                        )
        return Table(token.at, self.pattern("a dataset's name, union, print, datatable, range, search or '('"))

    def _is_range(self, position: int) -> bool:
        """Whether `range name from` stands there; `range(` is the function, and `range` alone a dataset."""
        words = [token.text for token in self.tokens[position : position + 5]]
        return words[:1] == ["range"] and (words[2:3] == ["from"] or (words[1:2] == ["["] and words[4:5] == ["from"]))

    def _range(self) -> Range:
        at = self.next().at
        name = self.name("the name of a column")
        self.word("from")
        start = self.expression()
        self.word("to")
        stop = self.expression()
        self.word("step")
        return Range(at, name, start, stop, self.expression())

    def _is_table_call(self) -> bool:
        """Whether `table(…)` stands here."""
        return self.is_word("table") and self.peek().kind == OPERATOR and self.peek().text == "("

    def table(self) -> Source:
        """Return a source where it is an operand, which is a name or stands in parentheses."""
        if self.is_symbol("(") or self._is_table_call():
            return self.source()
        return Table(self.here.at, self.pattern("a dataset's name or '('"))

    def operator(self) -> Operator:
        token = self.here
        if token.kind != NAME:
            self.fail("an operator such as where, summarize or project")
        name = token.text
        self.next()
        while self._adjoins() and self.is_symbol("-") and self.peek().kind == NAME and self.peek().at == self.here.end:
            name = f"{name}-{self.peek().text}"
            self.next()
            self.next()
        parse = OPERATORS.get(name)
        if parse is None:
            if name in _FOREIGN_OPERATORS:
                raise AplError(
                    f"{name!r} is an operator of Kusto that APL does not have{_FOREIGN_OPERATORS[name]}", token.at
                )
            hint = suggestion(name, OPERATORS) or f"; the operators are {', '.join(OPERATORS)}"
            raise AplError(f"unknown operator {name!r}{hint}", token.at, kind="name")
        return parse(self, token.at)

    def _adjoins(self) -> bool:
        """Whether nothing stands between this token and the one before."""
        return self.position > 0 and self.tokens[self.position - 1].end == self.here.at

    def _count(self, at: int) -> Count:
        return Count(at)

    def _getschema(self, at: int) -> Getschema:
        return Getschema(at)

    def _distinct(self, at: int) -> Distinct:
        if self.is_symbol("*"):
            return Distinct(at, (Named(at, None, Star(self.next().at)),))
        return Distinct(at, self.named_list())

    def _extend(self, at: int) -> Extend:
        return Extend(at, self.named_list())

    def _extend_valid(self, at: int) -> Extend:
        return Extend(at, self.named_list(), only_valid=True)

    def _externaldata(self, at: int) -> NoReturn:
        raise AplError("externaldata is not supported: it would read from the network; ingest the data instead", at)

    def _where(self, at: int) -> Where:
        return Where(at, self.expression())

    def _take(self, at: int) -> Take:
        return Take(at, self.expression())

    def _sample(self, at: int) -> Sample:
        return Sample(at, self.expression())

    def _sample_distinct(self, at: int) -> SampleDistinct:
        count = self.expression()
        return SampleDistinct(at, count, self.named_list() if self.take_word("of") else None)

    def _sort_by(self, at: int) -> Order:
        return Order(at, self._sort_keys("asc"))

    def _order(self, at: int) -> Order:
        self.word("by")
        return Order(at, self._sort_keys())

    def _top(self, at: int) -> Top:
        count = self.expression()
        self.word("by")
        return Top(at, count, self._sort_keys())

    def _sort_keys(self, default: str = "desc") -> tuple[Sorted, ...]:
        keys = []
        while True:
            value = self.expression()
            direction = self.take_word("asc", "desc") or default
            nulls_first = direction == "asc"
            if self.take_word("nulls"):
                nulls_first = self.word("first", "last") == "first"
            keys.append(Sorted(value.at, value, direction != "asc", nulls_first))
            if not self.take_symbol(","):
                return tuple(keys)

    def _project(self, at: int) -> Project:
        return Project(at, self.named_list())

    def _project_away(self, at: int) -> ProjectAway:
        return ProjectAway(at, self._column_patterns())

    def _project_keep(self, at: int) -> ProjectKeep:
        return ProjectKeep(at, self._column_patterns())

    def _column_patterns(self) -> tuple[Pattern, ...]:
        patterns = [self.pattern("a column")]
        while self.take_symbol(","):
            patterns.append(self.pattern("a column"))
        return tuple(patterns)

    def _project_rename(self, at: int) -> ProjectRename:
        values = self.named_list()
        for each in values:
            if each.name is None:
                raise AplError("project-rename takes new = old", each.at)
        return ProjectRename(at, values)

    def _project_reorder(self, at: int) -> ProjectReorder:
        columns = []
        while True:
            column = self.pattern("a column")
            order = self.take_word("asc", "desc")
            if self.is_word("granny"):
                self.next()
                self.symbol("-")
                order = f"granny-{self.word('asc', 'desc')}"
            columns.append(Reordered(column.at, column, order))
            if not self.take_symbol(","):
                return ProjectReorder(at, tuple(columns))

    def _summarize(self, at: int) -> Summarize:
        values = () if self.is_word("by") and not self._is_named() else self.named_list()
        by = self.named_list() if self.take_word("by") else ()
        if not values and not by:
            self.fail("an aggregation such as count()")
        return Summarize(at, values, by)

    def _union(self, at: int) -> Union:
        options = self.options({"kind": ("inner", "outer"), "withsource": None, "with_source": None, "isfuzzy": None})
        tables = [self.table()]
        while self.take_symbol(","):
            tables.append(self.table())
        column = options.get("withsource") or options.get("with_source")
        return Union(at, tuple(tables), column, options.get("kind") == "inner")

    def options(self, known: dict[str, tuple[str, ...] | None], *, names_follow: bool = False) -> dict[str, str]:
        """Parse `name=value` pairs, where the values are words or literals; `hint.…` is passed over.

        Where names follow that are written like options, what is no known option is left to them.
        """
        given: dict[str, str] = {}
        while self.here.kind == NAME:
            ahead = 1
            while self.peek(ahead).text == "." and self.peek(ahead + 1).kind == NAME:
                ahead += 2
            if not (self.peek(ahead).kind == OPERATOR and self.peek(ahead).text == "="):
                break
            name = self.here
            if names_follow and not self._is_option(known, ahead):
                break
            if not name.text.startswith("hint") and name.text not in known:
                expected = f"{one_of(list(known))}{suggestion(name.text, known)}" if known else "none here"
                raise AplError(f"unknown option {name.text!r}, expected {expected}", name.at, kind="name")
            for _ in range(ahead + 1):
                self.next()
            value = self.here
            if value.kind in (NAME, STRING, LONG, REAL):
                self.next()
                shown = str(value.value) if value.kind != NAME else value.text
            elif self.is_symbol("["):
                shown = self.name("a name")
            else:
                self.fail(f"a value of {name.text}")
            allowed = known.get(name.text)
            if allowed is not None and shown not in allowed:
                raise AplError(
                    f"unknown {name.text} {shown!r}, expected {one_of(allowed)}{suggestion(shown, allowed)}", value.at
                )
            given[name.text] = shown
        return given

    def _is_option(self, known: dict[str, tuple[str, ...] | None], ahead: int) -> bool:
        value = self.peek(ahead + 1)
        allowed = known.get(self.here.text, ())
        return allowed is None or value.text in allowed

    def _join(self, at: int) -> Join:
        return self._joined(at, "inner", JOIN_KINDS, lookup=False)

    def _lookup(self, at: int) -> Join:
        return self._joined(at, "leftouter", ("leftouter", "inner"), lookup=True)

    def _joined(self, at: int, default: str, kinds: tuple[str, ...], *, lookup: bool) -> Join:
        kind = self.options({"kind": kinds}).get("kind", default)
        right = self.table()
        self.options({})
        self.word("on")
        on = [self.expression()]
        while self.take_symbol(","):
            on.append(self.expression())
        return Join(at, kind, right, tuple(on), lookup)

    def _make_series(self, at: int) -> MakeSeries:
        self.options({"kind": ("nonempty",)}, names_follow=True)
        values = []
        while True:
            value = self.named()
            default = None
            if self.take_word("default"):
                self.symbol("=")
                default = self.expression()
            values.append(SeriesValue(value.at, value, default))
            if not self.take_symbol(","):
                break
        self.word("on")
        on = self.expression()
        start = stop = None
        if isinstance(on, Membership) and on.operator == "in" and len(on.items) == 1:
            ranged = on.items[0]
            if not (isinstance(ranged, Call) and ranged.name == "range" and len(ranged.arguments) == 3):
                raise AplError("expected range(from, to, step)", ranged.at)
            start, stop, step = ranged.arguments
            on = on.of
        else:
            if self.take_word("from"):
                start = self.expression()
            if self.take_word("to"):
                stop = self.expression()
            self.word("step") if start or stop else self._step_word()
            step = self.expression()
        by = self.named_list() if self.take_word("by") else ()
        return MakeSeries(at, tuple(values), on, start, stop, step, by)

    def _step_word(self) -> None:
        if self.take_word("step") is None:
            self.fail("'from', 'to' or 'step'")

    def _mv_expand(self, at: int) -> MvExpand:
        known: dict[str, tuple[str, ...] | None] = {
            "kind": ("bag", "array"), "bagexpansion": ("bag", "array"), "with_itemindex": None,
        }  # fmt: skip
        options = self.options(known, names_follow=True)
        kind = options.get("kind") or options.get("bagexpansion") or "array"
        values = []
        while True:
            value = self.named()
            type_name = None
            if self.take_word("to"):
                self.word("typeof")
                self.symbol("(")
                type_name = self.type_name()
                self.symbol(")")
            values.append(Expanded(value.at, value, type_name))
            if not self.take_symbol(","):
                break
        limit = None
        if self.take_word("limit"):
            self.take_symbol("=")
            limit = self.expression()
        return MvExpand(at, "bag" if kind == "bag" else "array", options.get("with_itemindex"), tuple(values), limit)

    def _parse(self, at: int) -> Parse:
        return self._parsed(at, only_matching=False)

    def _parse_where(self, at: int) -> Parse:
        return self._parsed(at, only_matching=True)

    def _parsed(self, at: int, *, only_matching: bool) -> Parse:
        options = self.options({"kind": ("simple", "regex", "relaxed"), "flags": None})
        kind: Any = options.get("kind", "simple")
        value = self.expression()
        self.word("with")
        parts: list[Constant | Captured | Skipped] = []
        while True:
            token = self.here
            if token.kind == STRING:
                parts.append(Constant(token.at, "string", self.next().value))
            elif self.is_symbol("*"):
                parts.append(Skipped(self.next().at))
            elif token.kind == NAME or self.is_symbol("["):
                name = self.name("a column")
                type_name = self.type_name() if self.take_symbol(":") else "string"
                parts.append(Captured(token.at, name, type_name))
            else:
                break
        if not parts:
            self.fail('a pattern, such as * "id=" id:long " " *')
        return Parse(at, kind, options.get("flags", ""), value, tuple(parts), only_matching)

    def _parse_kv(self, at: int) -> ParseKv:
        value = self.expression()
        self.word("as")
        columns = self._typed_columns(default="string")
        given: tuple[Named, ...] = ()
        if self.take_word("with"):
            self.symbol("(")
            given = self.named_list()
            self.symbol(")")
        return ParseKv(at, value, columns, given)

    def _typed_columns(self, default: str | None = None) -> tuple[Typed, ...]:
        """Parse `(name: type, …)`; a column without a type has the default one, if there is one."""
        self.symbol("(")
        columns = []
        while not self.is_symbol(")"):
            at = self.here.at
            name = self.name("a column")
            if default is not None and not self.is_symbol(":"):
                columns.append(Typed(at, name, default))
            else:
                self.symbol(":", "and a type")
                columns.append(Typed(at, name, self.type_name()))
            if not self.take_symbol(","):
                break
        self.symbol(")")
        return tuple(columns)

    def _redact(self, at: int) -> Redact:
        known: dict[str, tuple[str, ...] | None] = {
            "replaceToken": None, "replaceHash": ("true", "false"), "redactGroups": ("true", "false"),
            "auditField": None,
        }  # fmt: skip
        options = self.options(known, names_follow=True)
        closed = self.take_symbol("(")
        regexes = [*self._labelled()]
        while self.take_symbol(","):
            regexes += self._labelled()
        if closed:
            self.symbol(")")
        columns = None
        if self.take_word("on"):
            values = [self.expression()]
            while self.take_symbol(","):
                values.append(self.expression())
            columns = tuple(values)
        hashed = options.get("replaceHash") == "true"
        if hashed and "replaceToken" in options:
            raise AplError("replaceToken and replaceHash exclude each other", at)
        return Redact(at, tuple(regexes), options.get("auditField"), options.get("replaceToken"), hashed,
                      options.get("redactGroups") == "true", columns)  # fmt: skip

    def _labelled(self) -> Iterator[Labelled]:
        """Parse `"regex"`, `name="regex"`, or a dynamic array or dictionary of them."""
        name = None
        if self._is_named():
            name = self.next().value if self.here.kind == STRING else self.name("a name")
            self.next()
        token = self.here
        literal = self._primary() if token.kind == STRING or self.is_word("dynamic") else None
        value = literal.value if isinstance(literal, Constant) else None
        if isinstance(value, str):
            yield Labelled(token.at, name, value)
            return
        several = list(value.items()) if isinstance(value, dict) else [(None, each) for each in value or ()]
        if name is not None or not several or not all(isinstance(each, str) for _, each in several):
            raise AplError(f"met {token.in_message}, expected a regular expression as a string", token.at)
        for label, each in several:
            yield Labelled(token.at, label, each)

    def _search_operator(self, at: int) -> Search:
        return self._search(at, is_source=False)

    def _search(self, at: int, *, is_source: bool) -> Search:
        kinds = ("default", "case_insensitive", "case_sensitive")
        kind = self.options({"kind": kinds}).get("kind", "default")
        tables = None
        if is_source and self.is_word("in") and self.peek().text == "(":
            self.next()
            self.next()
            tables = [self.pattern("a dataset's name")]
            while self.take_symbol(","):
                tables.append(self.pattern("a dataset's name"))
            self.symbol(")")
        before, self.searching = self.searching, True
        predicate = self.expression()
        self.searching = before
        return Search(at, predicate, kind == "case_sensitive", tuple(tables) if tables is not None else None)

    def _union_operator(self, at: int) -> Union:
        return self._union(at)

    def _datatable(self, at: int) -> Datatable:
        columns = self._typed_columns()
        if not columns:
            raise AplError("a datatable has at least one column", at)
        self.symbol("[")
        cells = []
        while not self.is_symbol("]"):
            token = self.here
            cell = self.unary()
            if isinstance(cell, Unary) and isinstance(cell.of, Constant) and cell.of.value is not None:
                cell = Constant(cell.at, cell.of.kind, -cell.of.value if cell.operator == "-" else cell.of.value)
            if not isinstance(cell, Constant):
                raise AplError("a datatable holds literals only", token.at)
            cells.append(cell)
            if not self.take_symbol(","):
                break
        self.symbol("]")
        if len(cells) % len(columns):
            raise AplError(
                f"a datatable of {len(columns)} columns has {len(cells)} values, which is no whole number of rows", at
            )
        return Datatable(at, columns, tuple(cells))

    # Names

    def name(self, expected: str) -> str:
        """Return a plain or a quoted name."""
        token = self.here
        if token.kind == NAME:
            return self.next().text
        if self.is_symbol("[") and self.peek().kind == STRING:
            self.next()
            value: str = self.next().value
            self.symbol("]")
            return value
        return self.fail(expected)

    def type_name(self) -> str:
        """Return a type, by its canonical name."""
        token = self.here
        if token.kind != NAME:
            self.fail("a type")
        if token.text not in TYPES:
            expected = f"{one_of(sorted(set(TYPES.values())))}{suggestion(token.text, TYPES)}"
            raise AplError(f"unknown type {token.text!r}, expected {expected}", token.at, kind="name")
        self.next()
        return TYPES[token.text]

    def pattern(self, expected: str) -> Pattern:
        """Return a name, with dots and dashes in it where nothing else could be meant, and stars."""
        at = self.here.at
        parts = [""]
        first = True
        while first or self._adjoins():
            token = self.here
            if token.kind == OPERATOR and token.text == "*":
                self.next()
                parts.append("")
            elif token.kind == OPERATOR and token.text == "[" and self.peek().kind == STRING:
                parts[-1] += self.name(expected)
            elif token.kind == NAME or (not first and (token.kind in (LONG, REAL) or self._continues())):
                self.next()
                parts[-1] += token.text
            else:
                break
            first = False
        if first:
            self.fail(expected)
        return Pattern(at, tuple(parts))

    def _continues(self) -> bool:
        """Whether a dot or a dash stands here, and goes on with the name."""
        after = self.peek()
        if not (self.is_symbol(".") or self.is_symbol("-")):
            return False
        return after.at == self.here.end and (after.kind in (NAME, LONG, REAL) or after.text in ("*", "-", "."))

    def _is_named(self) -> bool:
        """Whether `name =` stands here."""
        if self.here.kind in (NAME, STRING):
            after = self.peek()
        elif self.is_symbol("[") and self.peek().kind == STRING and self.peek(2).text == "]":
            after = self.peek(3)
        else:
            return False
        return after.kind == OPERATOR and after.text == "="

    def named(self) -> Named:
        at = self.here.at
        if self._is_named():
            name = self.next().value if self.here.kind == STRING else self.name("a name")
            self.next()
            return Named(at, name, self.expression())
        return Named(at, None, self.expression())

    def named_list(self) -> tuple[Named, ...]:
        items = [self.named()]
        while self.take_symbol(","):
            items.append(self.named())
        return tuple(items)

    # Expressions

    def expression(self, level: int = 1) -> Expression:
        self.check()
        self.deeper()
        expression = self._operation(level)
        self.depth -= 1
        return expression

    def _operation(self, level: int) -> Expression:
        left = self.unary()
        for _ in range(MAX_CHAIN):
            operator = self._operator_here()
            if operator is None:
                return left
            name, precedence = operator
            if precedence < level:
                return left
            left = self._applied(name, precedence, left)
        raise AplError(f"more than {MAX_CHAIN} operators in one expression, the limit", self.here.at, kind="limit")

    def _operator_here(self) -> tuple[str, int] | None:
        """Return the infix operator that stands here, which is not taken yet."""
        token = self.here
        if token.kind == OPERATOR:
            precedence = _SYMBOLS.get(token.text)
            if precedence is not None:
                return token.text, precedence
            if token.text == ":" and self.searching:
                return ":", _COMPARISON
            after = self.peek()
            if token.text == "!" and after.kind == NAME and after.at == token.end:
                if after.text not in _NEGATABLE:
                    hint = suggestion(f"!{after.text}", [f"!{each}" for each in _NEGATABLE])
                    raise AplError(f"unknown operator '!{after.text}'{hint}", token.at, kind="name")
                return f"!{after.text}", _COMPARISON
        elif token.kind == NAME:
            text = token.text
            if text in ("and", "or"):
                return text, _SYMBOLS[text]
            if text in _NEGATABLE:
                return text, _COMPARISON
        return None

    def _applied(self, name: str, precedence: int, left: Expression) -> Expression:
        at = self.next().at
        bare = name.removeprefix("!")
        if bare != name and name not in ("!=", "!~"):
            self.next()
        if bare == "matches":
            self.word("regex")
            return Binary(at, f"{name} regex", left, self.expression(_COMPARISON + 1))
        if bare == "between":
            self.symbol("(")
            low = self.expression()
            self.symbol("..")
            high = self.expression()
            self.symbol(")")
            return Between(at, left, low, high, bare != name)
        if bare in LIST_OPERATORS:
            if bare == "in" and self.is_symbol("~") and self._adjoins():
                self.next()
                name += "~"
            return Membership(at, name, left, self._items())
        if name == "<>":
            name = "!="
        return Binary(at, name, left, self.expression(precedence + 1))

    def _items(self) -> tuple[Expression, ...]:
        """Return what stands on the right of `in`."""
        if not self.is_symbol("("):
            return (self.expression(_COMPARISON + 1),)
        opening = self.next()
        if self._is_tabular():
            inner = self.query()
            self.symbol(")", "at the end of the sub-query")
            return (Subquery(opening.at, inner),)
        items: list[Expression] = []
        while not self.is_symbol(")"):
            items.append(self.expression())
            if not self.take_symbol(","):
                break
        self.symbol(")", "or ','")
        return tuple(items)

    def unary(self) -> Expression:
        token = self.here
        if token.kind == OPERATOR and token.text in "-+":
            self.next()
            if token.text == "-" and self.here.kind in (LONG, REAL, TIMESPAN) and self.here.value is not None:
                number = self.next()
                kind: LiteralKind = number.kind  # type: ignore[assignment]
                return self._postfix(Constant(token.at, kind, -number.value))
            self.deeper()
            of = self.unary()
            self.depth -= 1
            return Unary(token.at, token.text, of)
        return self._postfix(self._primary())

    def _begins_value(self) -> bool:
        """Whether what stands here can only begin a value, so that a name before it is no column."""
        if self.here.kind == NAME:
            return self._operator_here() is None and self.here.text not in _AFTER_A_VALUE
        return self.here.kind in (STRING, LONG, REAL, TIMESPAN, DATETIME)

    def _postfix(self, value: Expression) -> Expression:
        if isinstance(value, Constant) and value.kind != "dynamic":
            return value
        for _ in range(MAX_CHAIN):
            token = self.here
            if token.kind != OPERATOR:
                return value
            if token.text == ".":
                self.next()
                if self.here.kind == NAME:
                    value = Member(token.at, value, self.next().text)
                elif self.is_symbol("[") and self.peek().kind == STRING:
                    value = Member(token.at, value, self.name("a key"), bracketed=True)
                else:
                    self.fail("a key after '.'")
            elif token.text == "[":
                self.next()
                index = self.expression()
                self.symbol("]")
                if isinstance(index, Constant) and index.kind == "string" and index.value is not None:
                    value = Member(token.at, value, index.value, bracketed=True)
                else:
                    value = Index(token.at, value, index)
            else:
                return value
        raise AplError(f"more than {MAX_CHAIN} keys, the limit", self.here.at, kind="limit")

    def _primary(self) -> Expression:
        token = self.here
        kind = token.kind
        if kind == NAME:
            return self._named_primary(token)
        if kind in (STRING, LONG, REAL, TIMESPAN, DATETIME):
            self.next()
            if kind == LONG and token.value > lexer.MAX_LONG:
                raise AplError(
                    f"the number {token.text} is larger than the largest integer, {lexer.MAX_LONG}", token.at
                )
            return Constant(token.at, kind, token.value)  # type: ignore[arg-type]
        if kind == OPERATOR:
            if token.text == "(":
                self.next()
                if self._is_tabular():
                    inner = self.query()
                    self.symbol(")", "at the end of the sub-query")
                    return Subquery(token.at, inner)
                expression = self.expression()
                self.symbol(")")
                return expression
            if token.text == "[" and self.peek().kind == STRING:
                name = self.name("a column")
                if self.is_symbol("(") and self.here.at == self.tokens[self.position - 1].end:
                    return self._called(token, name)
                return Name(token.at, name, quoted=True)
            if token.text == "*":
                self.next()
                return Star(token.at)
        return self.fail("a value: a column, a literal, a function or '('")

    def _named_primary(self, token: Token) -> Expression:
        self.next()
        text = token.text
        if not (self.here.kind == OPERATOR and self.here.text == "("):
            if text in ("true", "false"):
                return Constant(token.at, "bool", text == "true")
            if text == "null":
                return Constant(token.at, "null", None)
            if text == "not" and self._begins_value():
                return Call(token.at, "not", (self.expression(_COMPARISON),))
            return Name(token.at, text)
        if text in TYPES:
            return self._typed_literal(token)
        return self._called(token, text)

    def _called(self, token: Token, text: str) -> Call:
        self.symbol("(")
        arguments: list[Expression] = []
        while not self.is_symbol(")"):
            if self._is_tabular():
                arguments.append(Subquery(self.here.at, self.query()))
            elif text in NAMING and self._is_named():
                arguments.append(self.named())
            else:
                arguments.append(self.expression())
            if not self.take_symbol(","):
                break
        self.symbol(")", "or ','")
        return Call(token.at, text, tuple(arguments))

    def _typed_literal(self, token: Token) -> Expression:
        """Parse `long(5)`, `bool(true)`, `dynamic([…])`, `real(null)`."""
        kind = TYPES[token.text]
        self.next()
        if kind == "dynamic":
            return self._dynamic(token)
        negative = self.take_symbol("-")
        inside = self.next()
        value: Any = inside.value
        fits = False
        if inside.kind == NAME and inside.text == "null":
            value, fits = None, not negative
        elif kind == "bool" and not negative:
            words = {"true": True, "false": False, "1": True, "0": False}
            value, fits = words.get(inside.text), inside.text in words
        elif kind == "long" and inside.kind == LONG:
            fits = negative or value <= lexer.MAX_LONG
        elif kind == "real" and inside.kind in (LONG, REAL):
            value, fits = float(value), True
        elif kind == "real" and inside.text in ("nan", "inf") and inside.kind == NAME:
            value, fits = math.nan if inside.text == "nan" else math.inf, True
        elif kind == "string" and inside.kind == STRING:
            fits = not negative
        if not fits or not self.is_symbol(")"):
            raise AplError(
                f"{token.text}(…) takes a literal of its type or null; to convert a value use to{token.text}(…)",
                token.at,
            )
        self.next()
        return Constant(token.at, kind, -value if negative and value is not None else value)

    def _dynamic(self, token: Token) -> Expression:
        """Return the literal; where expressions stand in it, calls that make the same value."""
        position, depth = self.position, self.depth
        try:
            inner = self._json()
            self.symbol(")")
            return Constant(token.at, "dynamic", inner)
        except AplError as error:
            self.goto(position)
            self.depth = depth
            if not (self.is_symbol("{") or self.is_symbol("[")) or error.kind == "limit":
                raise
        packed = self._packed()
        self.symbol(")", "or an operator")
        return packed

    def _packed(self) -> Expression:
        """Return an element of `dynamic(…)` that may be any expression, or a dictionary or an array of such."""
        token = self.here
        closing = {"{": "}", "[": "]"}.get(token.text) if token.kind == OPERATOR else None
        if closing is None or (token.text == "[" and self._is_quoted_name()):
            return self.expression()
        self.deeper()
        self.next()
        items: list[Expression] = []
        while not self.is_symbol(closing):
            if closing == "}":
                key = self.next()
                if key.kind not in (STRING, NAME):
                    raise AplError(f"met {key.in_message}, expected a key in quotes", key.at)
                items.append(Constant(key.at, "string", key.value if key.kind == STRING else key.text))
                self.symbol(":")
            items.append(self._packed())
            if not self.take_symbol(","):
                break
        self.symbol(closing, "or ','")
        self.depth -= 1
        return Call(token.at, "bag_pack" if closing == "}" else "pack_array", tuple(items))

    def _is_quoted_name(self) -> bool:
        """Whether `['name']` stands here with an operator behind it, and so is no array of a string."""
        after = self.peek(3)
        ends = after.kind == END or (after.kind == OPERATOR and after.text in ",]})")
        return self.peek().kind == STRING and self.peek(2).text == "]" and not ends

    def _json(self) -> Any:
        """Return the inside of `dynamic(…)`: JSON, with any of APL's strings and with datetimes and timespans as
        texts.
        """
        self.deeper()
        value = self._json_value()
        self.depth -= 1
        return value

    def _json_value(self) -> Any:
        token = self.here
        words = {"true": True, "false": False, "null": None}
        if token.kind == NAME and token.text in words:
            self.next()
            return words[token.text]
        if token.kind in (STRING, LONG, REAL):
            self.next()
            return token.value
        if token.kind in (DATETIME, TIMESPAN):
            self.next()
            inside = token.text.partition("(")[2].rstrip(")").strip()
            return (inside or token.text) if token.value is not None else None
        if self.take_symbol("-"):
            if self.here.kind not in (LONG, REAL):
                self.fail("a number")
            return -self.next().value
        if self.take_symbol("["):
            items: list[Any] = []
            while not self.is_symbol("]"):
                items.append(self._json())
                if not self.take_symbol(","):
                    break
            self.symbol("]", "or ','")
            return items
        if self.take_symbol("{"):
            pairs: dict[str, Any] = {}
            while not self.is_symbol("}"):
                key = self.next()
                if key.kind not in (STRING, NAME):
                    raise AplError(f"met {key.in_message}, expected a key in quotes", key.at)
                self.symbol(":")
                pairs[key.value if key.kind == STRING else key.text] = self._json()
                if not self.take_symbol(","):
                    break
            self.symbol("}", "or ','")
            return pairs
        if token.kind == NAME and token.text == "dynamic" and self.peek().text == "(":
            self.next()
            self.next()
            inner = self._json()
            self.symbol(")")
            return inner
        return self.fail("a JSON value")


_AFTER_A_VALUE = frozenset(["asc", "by", "desc", "from", "kind", "limit", "nulls", "of", "on", "step", "to", "with"])
"""Words that go on with an operator after a value."""

OPERATORS: dict[str, Callable[[Parser, int], Operator]] = {
    "count": Parser._count,
    "distinct": Parser._distinct,
    "extend": Parser._extend,
    "extend-valid": Parser._extend_valid,
    "externaldata": Parser._externaldata,
    "filter": Parser._where,
    "getschema": Parser._getschema,
    "join": Parser._join,
    "limit": Parser._take,
    "lookup": Parser._lookup,
    "make-series": Parser._make_series,
    "mv-expand": Parser._mv_expand,
    "mvexpand": Parser._mv_expand,
    "order": Parser._order,
    "parse": Parser._parse,
    "parse-kv": Parser._parse_kv,
    "parse-where": Parser._parse_where,
    "project": Parser._project,
    "project-away": Parser._project_away,
    "project-keep": Parser._project_keep,
    "project-rename": Parser._project_rename,
    "project-reorder": Parser._project_reorder,
    "redact": Parser._redact,
    "sample": Parser._sample,
    "sample-distinct": Parser._sample_distinct,
    "search": Parser._search_operator,
    "sort": Parser._order,
    "sort-by": Parser._sort_by,
    "summarize": Parser._summarize,
    "take": Parser._take,
    "top": Parser._top,
    "union": Parser._union_operator,
    "where": Parser._where,
}
"""How each operator is read, by its name."""

_FOREIGN_OPERATORS = {
    "render": ": leave it out, the client draws",
    "serialize": ": leave it out",
    "top-nested": ": use summarize and top",
    "facet": ": use summarize",
    "mv-apply": ": use mv-expand and summarize",
    "evaluate": "",
    "invoke": "",
    "partition": "",
    "fork": "",
    "consume": "",
    "reduce": ": use summarize phrases(…)",
    "scan": "",
    "range": ": use print and mv-expand range(…)",
    "find": ": use search",
}
