"""A regular expression in which every part is a group."""

import re

from tailrace.query.functions.regexes import count_groups, regex_error

MAX_PARTS = 9  # of a regex, as a replacement of RE2 names no more groups

_FLAGS = re.compile(r"(?:\(\?[a-zA-Z-]+\))*")
_INSIDE = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\((?:\?P?<\w+>|(?!\?))", re.DOTALL)
_PIECE = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|.", re.DOTALL)


def spelled(regex: str) -> tuple[str, tuple[bool, ...]] | None:
    """Return a regex of which every part is a group, in turn, and whether the part was one before.

    None where the groups are no parts of it in turn: of alternatives, repeated, or inside of groups that do not
    capture.
    """
    flags = _FLAGS.match(regex)
    assert flags is not None
    spelling, between, group, depth, captures = [flags[0]], "", "", 0, False
    kinds: list[bool] = []
    tokens = [match[0] for match in _PIECE.finditer(regex, flags.end())]
    at = flags.end()
    for n, token in enumerate(tokens):
        if token == "(":
            if depth == 0:
                opened = regex.startswith("(?", at) and not re.match(r"\(\?P?<\w", regex[at:])
                if opened and re.match(r"\(\?[a-zA-Z-]+\)", regex[at:]):
                    return None
                captures = not opened
            depth += 1
        elif token == "|" and depth == 0:
            return None
        at += len(token)
        if depth == 0:
            between += token
            continue
        group += token
        if token == ")":
            depth -= 1
            if depth:
                continue
            if not captures:
                if count_groups(group):
                    return None
                between, group = between + group, ""
                continue
            if n + 1 < len(tokens) and tokens[n + 1] in "*+?{":
                return None
            if between:
                spelling.append(f"({between})")
                kinds.append(False)
            inside = _INSIDE.sub(lambda match: "(?:" if match[0].startswith("(") else match[0], group)
            spelling.append(f"({inside})")
            kinds.append(True)
            between, group = "", ""
    if between:
        spelling.append(f"({between})")
        kinds.append(False)
    spelled_out = "".join(spelling)
    usable = True in kinds and len(kinds) <= MAX_PARTS and regex_error(spelled_out) is None
    return (spelled_out, tuple(kinds)) if usable else None
