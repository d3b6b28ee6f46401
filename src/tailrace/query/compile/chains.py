"""Long chains of comparisons, which become comparisons with lists."""

from collections.abc import Sequence

from tailrace.query.apl import tree

_LISTED = {
    ("or", "=="): "in", ("and", "!="): "!in", ("and", "<>"): "!in",
    ("or", "=~"): "in~", ("and", "!~"): "!in~",
    ("or", "has"): "has_any", ("and", "!has"): "!has_any",
    ("or", "has_cs"): "has_any_cs", ("and", "!has_cs"): "!has_any_cs",
}  # fmt: skip
"""The operator of a list that says the same as a chain of comparisons with its elements."""


def as_lists(chained: str, operands: Sequence[tree.Expression]) -> list[tree.Expression]:
    """Return the operands of a chain (from its end), where comparisons of one field with literals become one with a
    list.
    """
    keys = [_list_key(chained, operand) for operand in operands]
    lists: dict[tuple[object, ...], list[tree.Binary]] = {}
    for key, operand in zip(keys, operands, strict=True):
        if key and isinstance(operand, tree.Binary):
            lists.setdefault(key, []).append(operand)
    operands_left: list[tree.Expression] = []
    for key, operand in zip(keys, operands, strict=True):
        alike = lists.get(key, [])
        if len(alike) < 2:
            operands_left.append(operand)
        elif operand is alike[0]:
            items = tuple(comparison.right for comparison in alike)
            operands_left.append(tree.Membership(operand.at, _LISTED[chained, alike[0].operator], alike[0].left, items))
    return operands_left


def _list_key(chained: str, node: tree.Expression) -> tuple[object, ...]:
    """Return what comparisons that can be one list have in common; empty for what cannot be in one."""
    if not isinstance(node, tree.Binary) or (chained, node.operator) not in _LISTED:
        return ()
    path, right = _field_path(node.left), node.right
    if not path or not isinstance(right, tree.Constant) or right.kind not in ("long", "string") or right.value is None:
        return ()
    return (_LISTED[chained, node.operator], right.kind, *path)


def _field_path(node: tree.Expression) -> tuple[object, ...]:
    """Return what tells a field that is named from others; empty for another expression."""
    if isinstance(node, tree.Name):
        return (node.name, node.quoted)
    if isinstance(node, tree.Member):
        inner = _field_path(node.of)
        return (*inner, node.key, node.bracketed) if inner else ()
    return ()
