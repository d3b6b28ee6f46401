"""Moesif's users, companies and subscriptions: which of a body are valid, and how a change of one is merged."""

from collections.abc import Iterator

import msgspec
from msgspec import Raw, Struct

from tailrace.events import Rejection
from tailrace.events.upserts import MAX_STATE_BYTES, MAX_STATE_FIELDS, Upsert
from tailrace.parsing import Limits
from tailrace.protocols.moesif_events import (
    MEMBERS,
    EventRefused,
    Members,
    as_text,
    event_indexes,
    in_order,
    parse_whole,
    text_of,
    within_limits,
)

PRIMARY_KEY = "_id"  # the field by which a state is found
SESSION_TOKEN = "session_token"  # every one that was ever sent stays in the state
ANONYMOUS_PREFIX = "anonymous:"  # before the id of a user who has none but an anonymous one

MAX_TOKENS_BYTES = 128 * 1024  # of a user's session tokens; then the oldest make way

_OWN = ("_id", "_revision", "_time")  # the server's names, for which a client's field makes way
_IDS = ("user_id", "company_id", "subscription_id", "anonymous_id", SESSION_TOKEN)
_EMPTY = b"{}"
_RAWS = msgspec.json.Decoder(list[Raw])


class Entity(Struct, frozen=True):
    """A kind of thing of which the current state is stored."""

    name: str  # that its dataset's name ends with
    ids: tuple[str, ...]  # the first that is there is its id
    required: tuple[str, ...] = ()
    required_alone: tuple[str, ...] = ()  # on the route for a single one


USER = Entity("users", ("user_id", "anonymous_id"))
COMPANY = Entity("companies", ("company_id",))
SUBSCRIPTION = Entity("subscriptions", ("subscription_id",), ("company_id",), ("status",))


class CheckedEntities(Struct, frozen=True):
    """The valid changes of a body, and what was refused."""

    upserts: list[Upsert]
    rejections: tuple[Rejection, ...]


def check_entities(body: bytes, entity: Entity, *, single: bool, limits: Limits, received_ns: int) -> CheckedEntities:
    """Parse a decoded body into changes, which is an array, or one object where `single`.

    Raise BadRequest for a body that is not that, TooLarge (`max_events`).
    """
    parsed = parse_whole(body, single=single, limits=limits, received_ns=received_ns)
    upserts: list[Upsert] = []
    rejections = list(parsed.rejections)
    for index, line in zip(event_indexes(parsed), parsed.events.split(b"\n")[:-1], strict=True):
        try:
            upserts.append(_upsert(index, within_limits(line, limits), entity, single=single))
        except EventRefused as refused:
            rejections.append(Rejection(index, refused.reason, refused.code, event=line))
    return CheckedEntities(upserts, in_order(rejections))


def _upsert(index: int, line: bytes, entity: Entity, *, single: bool) -> Upsert:
    if len(line) > MAX_STATE_BYTES:
        raise EventRefused(f"it has {len(line)} bytes; at most {MAX_STATE_BYTES} are taken", "event_too_large")
    members = MEMBERS.decode(line)
    for name in _IDS:
        as_text(members, name)
    for name in (*entity.required, *(entity.required_alone if single else ())):
        if not text_of(members.get(name)):
            raise EventRefused(f"{name} is required", "missing_field")
    _check_items(members)
    identity = _identity(members, entity)
    for name in _OWN:
        if name in members:
            members["_user" + name] = members.pop(name)
    leaves: Members = {}
    _put_leaves(members, "", leaves, MAX_STATE_BYTES)
    return Upsert(index, identity, leaves)


def _identity(members: Members, entity: Entity) -> str:
    for name in entity.ids:
        identity = text_of(members.get(name))
        if identity:
            return identity if name == entity.ids[0] else ANONYMOUS_PREFIX + identity
        if bytes(members.get(name, b"null")) not in (b"null", b'""'):
            quoted = bytes(members[name])[:40].decode("utf-8", "replace")
            raise EventRefused(f"{name} is text, not {quoted}", "invalid_field")
    raise EventRefused(f"{' or '.join(entity.ids)} is required", "missing_field")


def _check_items(members: Members) -> None:
    """Check that a subscription's items each name their plan."""
    items = bytes(members.get("items", b""))
    if items[:1] != b"[" or "subscription_id" not in members:
        return
    for number, item in enumerate(_RAWS.decode(items)):
        if bytes(item)[:1] != b"{" or text_of(MEMBERS.decode(item).get("plan_id")) is None:
            raise EventRefused(f"items[{number}].plan_id is required", "missing_field")


def _put_leaves(members: Members, path: str, leaves: Members, left: int) -> int:
    """Put the values of an object by path; null is no value, and an object without one is one itself.

    Of `left` bytes returns what is left. Raise EventRefused for more, as a path is long where much is nested, and is
    written for each value.
    """
    for name, value in members.items():
        here = path + name
        sent = bytes(value)
        if sent[:1] == b"{":
            before = len(leaves)
            left = _put_leaves(MEMBERS.decode(sent), here + ".", leaves, left)
            if len(leaves) > before:
                continue
            sent = _EMPTY
        elif sent == b"null":
            continue
        leaves[here] = Raw(sent)  # a copy: what is cached must not hold the body in memory
        left -= len(here) + len(sent)
        if left < 0:
            raise EventRefused(f"its paths and values have more than {MAX_STATE_BYTES} bytes", "event_too_large")
        if len(leaves) > MAX_STATE_FIELDS:
            raise EventRefused(f"it has more than {MAX_STATE_FIELDS} values", "too_many_fields")
    return left


def merged(before: Members, change: Members) -> Members:
    """Return the state after a change: objects are merged member by member, any other value is replaced.

    Both are values by path. Session tokens gather in an array, of which the newest stay.
    """
    emptied = {path for path, value in change.items() if bytes(value) == _EMPTY}
    after = dict(before)
    for path in _prefixes(change):
        after.pop(path, None)
    # Nothing stands below a value, so only a path that is new may have taken the place of others.
    replaced = change.keys() - before.keys() - emptied
    if replaced:
        for path in [path for path in after if "." in path and not replaced.isdisjoint(_ancestors(path))]:
            del after[path]
    filled = _prefixes(after) if emptied else set()
    after.update((path, value) for path, value in change.items() if path not in emptied or path not in filled)
    if SESSION_TOKEN in change:
        tokens = [*_tokens(before.get(SESSION_TOKEN)), *_tokens(change[SESSION_TOKEN])]
        after[SESSION_TOKEN] = Raw(b"[" + b",".join(_newest(tokens)) + b"]")
    return after


def _newest(tokens: list[bytes]) -> list[bytes]:
    """Each token once, and of very many the last ones."""
    distinct = list(dict.fromkeys(tokens))
    size = sum(map(len, distinct))
    first = 0
    while size > MAX_TOKENS_BYTES and first < len(distinct) - 1:
        size -= len(distinct[first])
        first += 1
    return distinct[first:]


def _tokens(value: Raw | None) -> list[bytes]:
    sent = bytes(value or b"")
    if sent[:1] == b"[":
        return [bytes(token) for token in _RAWS.decode(sent)]
    return [sent] if sent else []


def _prefixes(paths: Members) -> set[str]:
    return {ancestor for path in paths for ancestor in _ancestors(path)}


def _ancestors(path: str) -> Iterator[str]:
    end = path.rfind(".")
    while end >= 0:
        yield path[:end]
        end = path.rfind(".", 0, end)
