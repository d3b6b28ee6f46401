"""Functions of conversations with language models: arrays of messages with `role` and `content`."""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import sqlglot.expressions as exp
from msgspec import UNSET, Struct

from tailrace.query.functions.parsed_json import parse_json
from tailrace.query.functions.table import Context, Price, table
from tailrace.query.functions.udf import from_json, udf
from tailrace.query.values import (
    BOOL,
    DYNAMIC,
    LONG,
    REAL,
    STRING,
    Value,
    bool_,
    cast,
    coalesce,
    dynamic,
    dynamic_literal,
    fn,
    infix,
    literal,
    null,
    number_node,
    real,
    string,
    text_node,
)

FUNCTIONS, _add = table("genai")

CHARACTERS_PER_TOKEN = 4  # of English text, as providers give it for a rule of thumb
_TRUNCATED = ("length", "max_tokens", "max_output_tokens", "model_length", "token_limit")
_CUT_SHORT = rf'(?i)^\s*(?:\[.*")?(?:{"|".join(_TRUNCATED)})(?:".*\])?\s*$'  # alone, or among an array's


class _ChatMessage(Struct, gc=False):
    """What the functions read of a message; of any type, as it came."""

    role: Any = UNSET
    content: Any = None
    tool_calls: Any = None
    function_call: Any = None


_DECODER = msgspec.json.Decoder(list[_ChatMessage])


def _messages(text: str) -> list[_ChatMessage]:
    """Return the messages in a JSON text; none where it is no array."""
    try:
        return _DECODER.decode(text)
    except (msgspec.MsgspecError, RecursionError):  # one is no dictionary, or holds a number beyond the doubles
        value = from_json(text)
    return [*map(_message, filter(_is_message, value))] if isinstance(value, list) else []


def _is_message(value: Any) -> bool:
    return isinstance(value, dict)


def _message(value: dict[str, Any]) -> _ChatMessage:
    return _ChatMessage(
        value.get("role", UNSET), value.get("content"), value.get("tool_calls"), value.get("function_call")
    )


def _message_at(text: str, index: int) -> _ChatMessage:
    messages = from_json(text)
    message = messages[index] if isinstance(messages, list) else None
    if not isinstance(message, dict):
        raise TypeError("a message is a dictionary")
    return _message(message)


def _content(message: _ChatMessage) -> str:
    """Return a message's text; of a content of several parts their texts, joined."""
    content = message.content
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = (each if isinstance(each, str) else each.get("text") for each in parts if isinstance(each, (str, dict)))
    return "".join(each for each in texts if isinstance(each, str))


def _of_role(messages: Iterable[_ChatMessage], *roles: str) -> Iterator[_ChatMessage]:
    for message in messages:
        role = "" if message.role is UNSET else message.role
        if role in roles or str(role).lower() in roles:
            yield message


def _calls(message: _ChatMessage) -> list[Any]:
    calls, call, content = message.tool_calls, message.function_call, message.content
    all_calls = calls if isinstance(calls, list) else []
    if isinstance(call, dict):
        all_calls = [*all_calls, call]
    if isinstance(content, list):
        parts = [each for each in content if isinstance(each, dict) and each.get("type") in ("tool_use", "tool_call")]
        all_calls = all_calls + parts
    return all_calls


@udf("apl_genai_concat", [STRING, STRING], STRING, otherwise="")
def _concat(text: str, separator: str) -> str:
    return separator.join(map(_content, _messages(text)))


@udf("apl_genai_turns", [STRING], LONG, otherwise=0)
def _turns(text: str) -> int:
    return sum(1 for _ in _of_role(_messages(text), "user"))


@udf("apl_genai_tokens", [STRING], LONG)
def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


@udf("apl_genai_last", [STRING, STRING], STRING, otherwise="")
def _last(text: str, role: str) -> str:
    return next(map(_content, _of_role(reversed(_messages(text)), role.lower())), "")


@udf("apl_genai_first", [STRING, STRING], STRING, otherwise="")
def _first(text: str, role: str) -> str:
    return next(map(_content, _of_role(_messages(text), role.lower())), "")


@udf("apl_genai_system", [STRING], STRING, otherwise="")
def _system(text: str) -> str:
    return next(map(_content, _of_role(_messages(text), "system", "developer")), "")


@udf("apl_genai_results", [STRING], DYNAMIC)
def _results(text: str) -> list[Any] | None:
    return [each.content for each in _of_role(_messages(text), "tool", "function")] or None


@udf("apl_genai_tool_calls", [STRING], DYNAMIC)
def _tool_calls(text: str) -> list[Any] | None:
    return [call for each in _messages(text) for call in _calls(each)] or None


@udf("apl_genai_has_tool_calls", [STRING], BOOL, otherwise=False)
def _has_tool_calls(text: str) -> bool:
    return any(map(_calls, _messages(text)))


@udf("apl_genai_content_at", [STRING, LONG], STRING, otherwise="")
def _content_at(text: str, index: int) -> str:
    return _content(_message_at(text, index))


@udf("apl_genai_role_at", [STRING, LONG], STRING, otherwise="")
def _role_at(text: str, index: int) -> str:
    role = _message_at(text, index).role
    return role if isinstance(role, str) else ""


@udf("apl_genai_roles", [STRING], DYNAMIC, otherwise=[])
def _roles(text: str) -> list[Any]:
    return [None if each.role is UNSET else each.role for each in _messages(text)]


def _of_messages(build: Callable[..., Value]) -> Callable[..., Value]:
    """Messages may come as an array or as JSON text, and are handed on as JSON text."""
    return lambda context, messages, *others: build(string(cast(parse_json(messages).sql, "VARCHAR")), *others)


def _price(context: Context, model: Value, per: Callable[[Price], float]) -> exp.Expr:
    if not context.prices:
        return null(REAL).sql
    cases = [exp.If(this=text_node(name), true=number_node(float(per(each)))) for name, each in context.prices.items()]
    return exp.Case(this=model.sql, ifs=cases)


def _cost(price: exp.Expr, tokens: Value) -> exp.Expr:
    return infix(exp.Div, infix(exp.Mul, tokens.sql, price), number_node(1e6))


def _input_cost(context: Context, model: Value, tokens: Value) -> Value:
    return real(_cost(_price(context, model, lambda price: price.input), tokens))


def _output_cost(context: Context, model: Value, tokens: Value) -> Value:
    return real(_cost(_price(context, model, lambda price: price.output), tokens))


def _total_cost(context: Context, model: Value, into: Value, out: Value) -> Value:
    return real(infix(exp.Add, _input_cost(context, model, into).sql, _output_cost(context, model, out).sql))


def _pricing(context: Context, model: Value) -> Value:
    if not context.prices:
        return null(DYNAMIC)
    cases = [
        exp.If(
            this=text_node(name),
            true=dynamic_literal({"input": each.input, "output": each.output, "currency": each.currency}).sql,
        )
        for name, each in context.prices.items()
    ]
    return dynamic(exp.Case(this=model.sql, ifs=cases))


def _is_truncated(context: Context, messages: Value, reason: Value) -> Value:
    return bool_(coalesce(fn("regexp_matches", reason.sql, text_node(_CUT_SHORT)), exp.false()))


_TALK = """dynamic([{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}, \
{"role": "assistant", "content": "Hello"}])"""
_TOOLS = """dynamic([{"role": "assistant", "tool_calls": [{"id": "c1"}]}, {"role": "tool", "content": "42"}])"""

# fmt: off
_add("genai_concat_contents", "messages:any, separator:text?", STRING,
     _of_messages(lambda messages, separator: _concat(messages, separator or literal(" "))),
     "The contents of all messages, with a separator between them, a space if not given.",
     f'print genai_concat_contents({_TALK}, "; ")', "Be brief; Hi; Hello")
_add("genai_conversation_turns", "messages:any", LONG, _of_messages(_turns),
     "Number of turns, each of which a user's message begins.", f"print genai_conversation_turns({_TALK})", 1)
_add("genai_cost", "model:text, input_tokens:real, output_tokens:real", REAL, _total_cost,
     "What a call costs by the configured prices; null for a model without one.",
     'print genai_cost("no-such-model", 1000, 500)', None)
_add("genai_estimate_tokens", "text:text", LONG, lambda c, text: _tokens(text),
     "Number of tokens, estimated as one for four characters.", 'print genai_estimate_tokens("Hello world!")', 3)
_add("genai_extract_assistant_response", "messages:any", STRING,
     _of_messages(lambda messages: _last(messages, literal("assistant"))),
     "The content of the assistant's last message; the empty string without one.",
     f"print genai_extract_assistant_response({_TALK})", "Hello")
_add("genai_extract_function_results", "messages:any", DYNAMIC, _of_messages(_results),
     "The contents of all messages of tools and functions; null without one.",
     f"print genai_extract_function_results({_TOOLS})", ["42"])
_add("genai_extract_system_prompt", "messages:any", STRING, _of_messages(_system),
     "The content of the first system message; the empty string without one.",
     f"print genai_extract_system_prompt({_TALK})", "Be brief")
_add("genai_extract_tool_calls", "messages:any", DYNAMIC, _of_messages(_tool_calls),
     "The tool calls of all messages; null without one.", f"print genai_extract_tool_calls({_TOOLS})", [{"id": "c1"}])
_add("genai_extract_user_prompt", "messages:any", STRING,
     _of_messages(lambda messages: _last(messages, literal("user"))),
     "The content of the user's last message; the empty string without one.",
     f"print genai_extract_user_prompt({_TALK})", "Hi")
_add("genai_get_content_by_index", "messages:any, index:long", STRING, _of_messages(_content_at),
     "The content of a message, counted from 0, or from the end if negative; the empty string without one.",
     f"print genai_get_content_by_index({_TALK}, 1)", "Hi")
_add("genai_get_content_by_role", "messages:any, role:text", STRING, _of_messages(_first),
     "The content of the first message of a role; the empty string without one.",
     f'print genai_get_content_by_role({_TALK}, "user")', "Hi")
_add("genai_get_pricing", "model:text", DYNAMIC, _pricing,
     "The configured prices of a model, in US dollars a million tokens; null without one.",
     'print genai_get_pricing("no-such-model")', None)
_add("genai_get_role", "messages:any, index:long", STRING, _of_messages(_role_at),
     "The role of a message, counted from 0, or from the end if negative; the empty string without one.",
     f"print genai_get_role({_TALK}, 0)", "system")
_add("genai_has_tool_calls", "messages:any", BOOL, _of_messages(_has_tool_calls),
     "Whether a message calls a tool.", f"print genai_has_tool_calls({_TOOLS})", True)
_add("genai_input_cost", "model:text, tokens:real", REAL, _input_cost,
     "What tokens of input cost by the configured prices; null for a model without one.",
     'print genai_input_cost("no-such-model", 1000)', None)
_add("genai_is_truncated", "messages:any, finish_reason:text", BOOL, _is_truncated,
     "Whether the reason to finish, or one of an array of them, was a limit of length.",
     f'print genai_is_truncated({_TALK}, "length")', True)
_add("genai_message_roles", "messages:any", DYNAMIC, _of_messages(_roles),
     "The roles of all messages.", f"print genai_message_roles({_TALK})", ["system", "user", "assistant"])
_add("genai_output_cost", "model:text, tokens:real", REAL, _output_cost,
     "What tokens of output cost by the configured prices; null for a model without one.",
     'print genai_output_cost("no-such-model", 1000)', None)
# fmt: on
