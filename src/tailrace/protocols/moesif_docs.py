"""What goes in and out of Moesif's routes: the types of bodies and answers, and the API's document of them."""

from typing import Any

from msgspec import Struct

from tailrace.parsing import Signal
from tailrace.protocols.http import BodyDoc, ParameterDoc, RouteDoc


class RefusedElement(Struct, frozen=True):
    """A refused element of an array, in an answer."""

    index: int
    reason: str


class Accepted(Struct, frozen=True):
    """The answer when all or some elements were stored."""

    accepted: int
    rejected: list[RefusedElement]


class MoesifError(Struct, frozen=True, omit_defaults=True):
    """The body of every error."""

    error: str
    message: str
    rejected: list[RefusedElement] | None = None  # when the body was valid JSON, but no element was valid


class Config(Struct, frozen=True):
    """The configuration that SDKs fetch at their start; their strict decoders need every key, and integers."""

    org_id: str
    app_id: str
    sample_rate: int = 100
    block_bot_traffic: bool = False
    user_sample_rate: dict[str, int] = {}
    company_sample_rate: dict[str, int] = {}
    user_rules: dict[str, Any] = {}
    company_rules: dict[str, Any] = {}
    ip_addresses_blocked_by_name: dict[str, str] = {}
    regex_config: list[Any] = []
    billing_config_jsons: dict[str, str] = {}


class Probed(Struct, frozen=True):
    """The answer of the health probe."""

    status: bool
    region: str


class CallRequest(Struct):
    """The request of an API call; other members are stored too. The client's address is taken where none is given."""

    time: str
    uri: str
    verb: str
    ip_address: str | None = None


class CallResponse(Struct):
    """The response of an API call."""

    time: str
    status: int | str


class ApiCall(Struct):
    """An API call; other members are stored too."""

    request: CallRequest
    response: CallResponse | None = None
    transaction_id: str | None = None  # makes it idempotent
    user_id: str | int | float | None = None
    company_id: str | int | float | None = None


class ActionRequest(Struct):
    """The page of an action."""

    uri: str
    time: str | None = None


class Action(Struct):
    """A custom action; other members are stored too."""

    action_name: str
    request: ActionRequest
    transaction_id: str | None = None  # makes it idempotent
    user_id: str | int | float | None = None
    company_id: str | int | float | None = None


class UserState(Struct):
    """A change of a user, with one of the two ids; other members are stored too."""

    user_id: str | int | float | None = None
    anonymous_id: str | int | float | None = None
    company_id: str | int | float | None = None
    metadata: dict[str, Any] | None = None


class CompanyState(Struct):
    """A change of a company; other members are stored too."""

    company_id: str | int | float
    metadata: dict[str, Any] | None = None


class SubscriptionState(Struct):
    """A change of a subscription; `status` is needed where it is sent alone. Other members are stored too."""

    subscription_id: str | int | float
    company_id: str | int | float
    status: str | int | float | None = None
    metadata: dict[str, Any] | None = None


_CALL_EXAMPLE = {
    "request": {"time": "2026-01-02T03:04:05Z", "uri": "https://api.example.com/items", "verb": "GET"},
    "response": {"time": "2026-01-02T03:04:05.120Z", "status": 200},
    "user_id": "u1",
}
_ACTION_EXAMPLE = {"action_name": "Signed Up", "request": {"uri": "https://example.com/"}, "user_id": "u1"}
_USER_EXAMPLE = {"user_id": "u1", "company_id": "c1", "metadata": {"plan": "free"}}
_COMPANY_EXAMPLE = {"company_id": "c1", "metadata": {"size": 12}}
_SUBSCRIPTION_EXAMPLE = {"subscription_id": "s1", "company_id": "c1", "status": "active"}
_REFUSALS = (400, 401, 404, 408, 413, 415, 429, 503)


def _doc(about: str, kind: Any, example: dict[str, Any], *, single: bool) -> RouteDoc:
    sent = BodyDoc(kind, example) if single else BodyDoc(list[kind], [example])
    return RouteDoc(about, {201: Accepted}, {"application/json": sent}, _REFUSALS)


def otlp_doc(signal: Signal) -> RouteDoc:
    resource = {"traces": "resourceSpans", "logs": "resourceLogs", "metrics": "resourceMetrics"}[signal]
    return RouteDoc(
        about=f"Takes OTLP {signal}.",
        answers={200: dict[str, Any]},
        bodies={
            "application/json": BodyDoc(dict[str, Any], {resource: []}),
            "application/x-protobuf": BodyDoc({"contentMediaType": "application/x-protobuf"}, ""),
        },
        refusals=_REFUSALS,
        media={"application/x-protobuf": {}},
    )


_IF_NONE_MATCH = ParameterDoc("If-None-Match", "The tag of the document that the client has.", where="header")
CONFIG_DOC = RouteDoc("The configuration of the application.", {200: Config, 304: None}, {}, (401,), (_IF_NONE_MATCH,))
RULES_DOC = RouteDoc(
    "The governance rules: there are none.", {200: list[Any], 304: None}, {}, (401,), (_IF_NONE_MATCH,)
)
PROBE_DOC = RouteDoc("Whether events are let through.", {200: Probed}, refusals=(503,), credential=False)
CALL_DOC = _doc("Takes one API call.", ApiCall, _CALL_EXAMPLE, single=True)
CALLS_DOC = _doc("Takes several API calls.", ApiCall, _CALL_EXAMPLE, single=False)
ACTION_DOC = _doc("Takes one custom action.", Action, _ACTION_EXAMPLE, single=True)
ACTIONS_DOC = _doc("Takes several custom actions.", Action, _ACTION_EXAMPLE, single=False)
USER_DOC = _doc("Creates a user, or changes what is sent of it.", UserState, _USER_EXAMPLE, single=True)
USERS_DOC = _doc("Creates users, or changes what is sent of them.", UserState, _USER_EXAMPLE, single=False)
COMPANY_DOC = _doc("Creates a company, or changes what is sent of it.", CompanyState, _COMPANY_EXAMPLE, single=True)
COMPANIES_DOC = _doc(
    "Creates companies, or changes what is sent of them.", CompanyState, _COMPANY_EXAMPLE, single=False
)
SUBSCRIPTION_DOC = _doc(
    "Creates a subscription, or changes what is sent of it.", SubscriptionState, _SUBSCRIPTION_EXAMPLE, single=True
)
SUBSCRIPTIONS_DOC = _doc(
    "Creates subscriptions, or changes what is sent of them.", SubscriptionState, _SUBSCRIPTION_EXAMPLE, single=False
)
