"""A parser of simple SQL statements: one SELECT, INSERT, UPDATE or DELETE as a tree of dictionaries.

It reads what the common databases agree on and the widespread words of MySQL and PostgreSQL; names in double quotes
or backticks are names, never strings. Common table expressions, window functions and set operations are refused.
"""

from collections.abc import Callable
from typing import Any

from tailrace.query.functions.sql_tokens import (
    BINARY,
    BITS_OR,
    CHAINED,
    COMPARISON,
    END,
    HINTS,
    JOINS,
    LITERAL_WORDS,
    NOT,
    PATTERNS,
    PLAIN_NAME,
    QUANTIFIERS,
    RESERVED,
    RESERVED_FUNCTIONS,
    SECOND_WORDS,
    TYPED,
    UNARY,
    UNITS,
    NotParsed,
    SqlToken,
)

Node = dict[str, Any]

MAX_DEPTH = 48  # of parentheses, subqueries and operators in each other


def parse(tokens: list[SqlToken]) -> Node:
    """Return the statement that tokens are; raise NotParsed for what is none, or not a simple one."""
    return _SqlParser(tokens).statement()


class _SqlParser:
    def __init__(self, tokens: list[SqlToken]) -> None:
        self._tokens = [*tokens, END, END]
        self._at = 0
        self._depth = 0

    def statement(self) -> Node:
        kinds: dict[str, Callable[[], Node]] = {
            "select": self._select, "insert": self._insert, "update": self._update, "delete": self._delete,
        }  # fmt: skip
        kind = kinds.get(self._peek().word)
        if kind is None:
            raise NotParsed("a statement begins with select, insert, update or delete")
        node = kind()
        while self._take(";"):
            pass
        if self._peek() is not END:
            raise NotParsed(f"{self._peek().text!r} is not expected")
        return node

    # Tokens

    def _peek(self, ahead: int = 0) -> SqlToken:
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def _take(self, *words: str) -> bool:
        """Go past these words where they are next."""
        if all(self._peek(n).word == word for n, word in enumerate(words)):
            self._at += len(words)
            return True
        return False

    def _need(self, *words: str) -> None:
        if not self._take(*words):
            raise NotParsed(f"{' '.join(words)!r} is expected, not {self._peek().text!r}")

    def _is_name(self, token: SqlToken) -> bool:
        return token.kind in ('"', "`") or (token.kind == "word" and token.word not in RESERVED)

    def _name(self, node: Node, key: str) -> None:
        """Set a name of a node; its quotes are noted where they carry a meaning."""
        token = self._peek()
        if not self._is_name(token):
            raise NotParsed(f"a name is expected, not {token.text!r}")
        self._at += 1
        node[key] = token.text
        if token.kind != "word" and (token.text in RESERVED or not PLAIN_NAME.fullmatch(token.text)):
            node.setdefault("quoted", {})[key] = token.kind

    def _alias(self, node: Node) -> Node:
        if self._take("as") or (self._is_name(self._peek()) and not self._is_hint()):
            self._name(node, "as")
        return node

    def _is_hint(self) -> bool:
        return self._peek().word in HINTS and self._peek(1).word in ("index", "key")

    def _listed(self, item: Callable[[], Any]) -> list[Any]:
        items = [item()]
        while self._take(","):
            items.append(item())
        return items

    def _in_parentheses(self, item: Callable[[], Any]) -> list[Any]:
        self._need("(")
        items = self._listed(item)
        self._need(")")
        return items

    # Statements

    def _select(self) -> Node:
        self._need("select")
        node: Node = {"type": "select"}
        if self._take("distinct"):
            node["distinct"] = True
        else:
            self._take("all")
        node["columns"] = self._listed(self._column)
        if self._take("from"):
            node["from"] = self._tables()
        self._condition(node)
        if self._take("group", "by"):
            node["group"] = self._listed(self._expression)
        if self._take("having"):
            node["having"] = self._expression()
        self._ordering(node)
        if self._take("for"):
            node["lock"] = self._lock()
        return node

    def _lock(self) -> str:
        mode = self._peek().word
        if mode not in ("update", "share"):
            raise NotParsed("for is followed by update or share")
        self._at += 1
        if self._take("skip", "locked"):
            return f"for {mode} skip locked"
        return f"for {mode} nowait" if self._take("nowait") else f"for {mode}"

    def _column(self) -> Node:
        if self._take("*"):
            return {"colname": "*"}
        return self._alias(self._expression())

    def _condition(self, node: Node) -> None:
        if self._take("where"):
            node["where"] = self._expression()

    def _ordering(self, node: Node) -> None:
        if self._take("order", "by"):
            node["order"] = self._listed(self._order)
        if self._take("limit"):
            node["limit"] = self._expression()
            if self._take(","):
                node["offset"], node["limit"] = node["limit"], self._expression()
        if "offset" not in node and self._take("offset"):
            node["offset"] = self._expression()
            if not self._take("rows"):
                self._take("row")

    def _order(self) -> Node:
        expression = self._expression()
        node = {"direction": "desc" if self._take("desc") else "asc", "expr": expression}
        if node["direction"] == "asc":
            self._take("asc")
        if self._take("nulls"):
            node["nulls"] = "first" if self._take("first") else "last"
            if node["nulls"] == "last":
                self._need("last")
        return node

    def _insert(self) -> Node:
        self._need("insert")
        node: Node = {"type": "insert"}
        if self._take("ignore"):
            node["ignore"] = True
        self._need("into")
        node["into"] = [self._qualified("table")]
        if self._peek().word == "(" and self._peek(1).word != "select":
            node["columns"] = self._in_parentheses(self._bare_column)
        if self._take("values"):
            node["values"] = self._listed(lambda: self._in_parentheses(self._expression))
        elif self._peek().word == "select":
            node["select"] = self._nested(self._select)
        else:
            raise NotParsed("an insert has values or a select")
        if self._take("on", "duplicate", "key", "update"):
            node["on_duplicate"] = self._listed(self._assignment)
        elif self._take("on", "conflict"):
            node["on_conflict"] = self._conflict()
        self._returning(node)
        return node

    def _conflict(self) -> Node:
        node: Node = {}
        if self._peek().word == "(":
            node["columns"] = self._in_parentheses(self._bare_column)
        self._need("do")
        if not self._take("nothing"):
            self._need("update", "set")
            node["set"] = self._listed(self._assignment)
            self._condition(node)
        return node

    def _update(self) -> Node:
        self._need("update")
        node: Node = {"type": "update", "from": self._tables()}
        self._need("set")
        node["set"] = self._listed(self._assignment)
        if self._take("from"):
            node["using"] = self._tables()
        self._condition(node)
        self._ordering(node)
        self._returning(node)
        return node

    def _delete(self) -> Node:
        self._need("delete", "from")
        node: Node = {"type": "delete", "from": self._tables()}
        if self._take("using"):
            node["using"] = self._tables()
        self._condition(node)
        self._ordering(node)
        self._returning(node)
        return node

    def _returning(self, node: Node) -> None:
        if self._take("returning"):
            node["returning"] = self._listed(self._column)

    def _assignment(self) -> Node:
        node = self._qualified("colname")
        self._need("=")
        return {**node, "expr": self._expression()}

    # Tables

    def _tables(self) -> list[Node]:
        tables = [self._table()]
        while True:
            if self._take(","):
                tables.append(self._table())
                continue
            for words, join in JOINS.items():
                if self._take(*words):
                    tables.append(self._joined({"join": join}))
                    break
            else:
                return tables

    def _joined(self, node: Node) -> Node:
        node = {**self._table(), **node}
        if self._take("on"):
            node["on"] = self._expression()
        elif self._take("using"):
            node["using"] = self._in_parentheses(self._bare_column)
        return node

    def _table(self) -> Node:
        if self._peek().word == "(":
            node: Node = {"subquery": self._subquery()}
            return self._alias(node)
        node = self._alias(self._qualified("table"))
        hints = []
        while self._is_hint():
            kind = self._peek().word
            self._at += 2
            self._need("(")
            names = [] if self._peek().word == ")" else self._listed(self._index)
            self._need(")")
            hints.append({"type": kind, "indexes": names})
        return {**node, "hints": hints} if hints else node

    def _index(self) -> str:
        node: Node = {}
        self._name(node, "index")
        return str(node["index"])

    def _bare_column(self) -> Node:
        node: Node = {}
        self._name(node, "colname")
        return node

    def _qualified(self, last: str) -> Node:
        """Return a name with those before it: the table of a column, the schema of a table, the catalog of a schema."""
        names: list[Node] = []
        while True:
            name: Node = {}
            if names and last == "colname" and self._take("*"):
                name["name"] = "*"
            else:
                self._name(name, "name")
            names.append(name)
            if not self._take("."):
                break
        keys = ["catalog", "schema", "table", *(["colname"] if last == "colname" else [])][-len(names) :]
        if len(keys) < len(names):
            raise NotParsed("a name has too many parts")
        node: Node = {}
        for key, name in zip(keys, names, strict=True):
            node[key] = name["name"]
            if "quoted" in name:
                node.setdefault("quoted", {})[key] = name["quoted"]["name"]
        return node

    # Expressions

    def _nested(self, build: Callable[[], Any]) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise NotParsed(f"a statement is nested at most {MAX_DEPTH} deep")
        result = build()
        self._depth -= 1
        return result

    def _subquery(self) -> Node:
        self._need("(")
        node: Node = self._nested(self._select)
        self._need(")")
        return node

    def _expression(self, least: int = 1) -> Node:
        node: Node = self._nested(lambda: self._binary(least))
        return node

    def _binary(self, least: int) -> Node:
        """Return a Pratt parser: operators that bind at least so tightly."""
        left = self._prefix()
        levels = 0
        while True:
            token = self._peek()
            power = BINARY.get(token.word, 0) if token.kind in ("word", "operator") else 0
            if power >= least and power:
                self._at += 1
                right = self._expression(power + 1)
                if token.word in CHAINED and left.get("operator") == token.word and levels:
                    left["params"].append(right)
                    continue
                left = {"operator": token.word, "params": [left, right]}
            elif least <= COMPARISON and (compared := self._comparison(left)) is not None:
                left = compared
            elif token.word == "::":
                self._at += 1
                left = {"function": "cast", "params": [left], "totype": self._type()}
            else:
                return left
            levels += 1
            if levels + self._depth > MAX_DEPTH:
                raise NotParsed(f"a statement is nested at most {MAX_DEPTH} deep")

    def _comparison(self, left: Node) -> Node | None:
        """Return what comparisons with words make of their left side: is, in, between, like and their negations."""
        if self._take("is"):
            operator = "is not" if self._take("not") else "is"
            return {"operator": operator, "params": [left, self._expression(BITS_OR)]}
        negated = self._peek().word == "not"
        word = self._peek(int(negated)).word
        if word not in ("in", "between") and word not in PATTERNS:
            return None
        self._at += 1 + int(negated)
        operator = f"not {word}" if negated else word
        if word == "in":
            return {"operator": operator, "params": [left, self._members()]}
        first = self._expression(BITS_OR)
        if word == "between":
            self._need("and")
            return {"operator": operator, "params": [left, first, self._expression(BITS_OR)]}
        node: Node = {"operator": operator, "params": [left, first]}
        if self._take("escape"):
            node["escape"] = self._expression(BITS_OR)
        return node

    def _members(self) -> Node:
        if self._peek().kind == "placeholder":
            return self._prefix()
        if self._peek(1).word == "select":
            return {"subquery": self._subquery()}
        return {"list": self._in_parentheses(self._expression)}

    def _prefix(self) -> Node:
        token = self._peek()
        if token.word == "not":
            self._at += 1
            return {"operator": "not", "params": [self._expression(NOT)]}
        if token.kind == "operator" and token.word in ("-", "+", "~", "!"):
            self._at += 1
            operand = self._expression(UNARY)
            if token.word == "-" and operand.get("valtype") in ("integer", "float") and operand["value"][0] != "-":
                return {**operand, "value": f"-{operand['value']}"}
            return operand if token.word == "+" else {"operator": token.word, "params": [operand]}
        return self._primary()

    def _primary(self) -> Node:
        token = self._peek()
        if token.kind in ("string", "integer", "float", "hex", "placeholder"):
            self._at += 1
            return {"value": token.text, "valtype": token.kind}
        if token.word == "(":
            if self._peek(1).word == "select":
                return {"subquery": self._subquery()}
            members = self._in_parentheses(self._expression)
            return members[0] if len(members) == 1 else {"list": members}
        if token.kind == "word":
            node = self._word(token)
            if node is not None:
                return node
        return self._qualified("colname")

    def _word(self, token: SqlToken) -> Node | None:
        """Return what begins with a word that is no column's name."""
        after = self._peek(1)
        if token.word in LITERAL_WORDS and after.word not in (".", "("):
            self._at += 1
            return {"value": token.word, "valtype": LITERAL_WORDS[token.word]}
        if token.word == "case":
            return self._case()
        if token.word == "exists" and after.word == "(":
            self._at += 1
            return {"operator": "exists", "params": [{"subquery": self._subquery()}]}
        if token.word == "interval":
            return self._interval()
        if token.word in TYPED and after.kind == "string":
            self._at += 2
            return {"value": after.text, "valtype": token.word}
        if after.word == "(" and (token.word not in RESERVED or token.word in RESERVED_FUNCTIONS):
            return self._function(token)
        return None

    def _case(self) -> Node:
        self._need("case")
        node: Node = {}
        if self._peek().word != "when":
            node["case"] = self._expression()
        whens = []
        while self._take("when"):
            condition = self._expression()
            self._need("then")
            whens.append({"condition": condition, "result": self._expression()})
        if not whens:
            raise NotParsed("a case has a when")
        node["when"] = whens
        if self._take("else"):
            node["else"] = self._expression()
        self._need("end")
        return node

    def _interval(self) -> Node:
        self._need("interval")
        node: Node = {"interval": self._expression(BITS_OR)}
        unit = self._peek().word
        if unit in UNITS:
            self._at += 1
            node["unit"] = unit
        return node

    def _function(self, name: SqlToken) -> Node:
        self._at += 1
        node: Node = {"function": name.text}
        if name.word in QUANTIFIERS and self._peek(1).word == "select":
            return {**node, "params": [{"subquery": self._subquery()}]}
        self._need("(")
        if name.word == "extract" and self._peek().word in UNITS and self._peek(1).word == "from":
            node["unit"] = self._peek().word
            self._at += 2
        if self._take("distinct"):
            node["distinct"] = True
        node["params"] = [] if self._peek().word == ")" else self._listed(self._argument)
        if name.word == "cast":
            self._need("as")
            node["totype"] = self._type()
        self._need(")")
        if self._peek().word == "over":
            raise NotParsed("window functions are not supported")
        return node

    def _argument(self) -> Node:
        return {"colname": "*"} if self._take("*") else self._expression()

    def _type(self) -> str:
        """Return a type's name, as `decimal(10, 2)` or `double precision`."""
        token = self._peek()
        if token.kind != "word" or token.word in RESERVED:
            raise NotParsed(f"a type is expected, not {token.text!r}")
        self._at += 1
        name = token.word
        if SECOND_WORDS.get(name) == self._peek().word:
            name += f" {self._peek().word}"
            self._at += 1
        if self._take("("):
            sizes = self._listed(self._expression)
            self._need(")")
            if any(size.get("valtype") != "integer" for size in sizes):
                raise NotParsed("a type has whole numbers")
            name += f"({', '.join(size['value'] for size in sizes)})"
        return name
