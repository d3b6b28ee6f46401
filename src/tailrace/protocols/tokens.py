"""The API's tokens, as clients of several protocols send them."""

import binascii
from base64 import b64decode

from msgspec import Struct

from tailrace.access import Grant
from tailrace.events import Unauthorized
from tailrace.protocols.http import IngestService, Request, cached

ORGANISATION = b"x-axiom-org-id"  # the organisation in which a personal token is used
_SPELLINGS = {b"apikey": "ApiKey", b"dd-api-key": "DD-API-KEY"}  # where a capital at each word's beginning is not all


class TokenRule(Struct, frozen=True):
    """Where the clients of a protocol put the token; the first of these that a request has is taken."""

    headers: tuple[bytes, ...] = ()  # of their own, in lower case, with nothing but the token
    schemes: tuple[bytes, ...] = (b"bearer", b"basic")  # of Authorization, in lower case
    parameters: tuple[str, ...] = ()  # of the query
    segment: str = ""  # of the path, where the route has one of that name

    @property
    def hint(self) -> str:
        """How a token is sent, for the refusal of a request without one."""
        places = [f"'{_spelled(name)}: TOKEN'" for name in self.headers]
        places.append(f"'Authorization: {_spelled(self.schemes[0])} TOKEN'")
        path = ", or the token at the end of the path" if self.segment else ""
        return f"no token: send the header {' or '.join(places)}{path}"


def grant_of(request: Request, service: IngestService, rule: TokenRule) -> Grant:
    """Return what the token of a request may do, in the organisation that a header names; raise Unauthorized.

    A personal token needs that header where its user is in several organisations.
    """
    organisation = request.headers.get(ORGANISATION)
    named = organisation.decode("latin-1") if organisation else ""
    return request.sent_by(service.access.authenticate(secret_of(request, rule), named))


def secret_of(request: Request, rule: TokenRule) -> str:
    """Return the token of a request; raise Unauthorized where there is none, or where it cannot be read."""
    if rule.segment in request.params:
        return request.params[rule.segment]
    for name in rule.headers:
        value = request.headers.get(name, b"").strip()
        if value:
            return value.decode("latin-1")
    authorization = request.headers.get(b"authorization")
    if authorization is not None:
        scheme, secret = credential_of(authorization)
        if scheme not in rule.schemes:  # which is not shown: it may be a token without a scheme
            known = ", ".join(_spelled(name) for name in rule.schemes)
            raise Unauthorized(f"the header Authorization must have one of the schemes {known}, and behind it a token")
        if not secret:
            raise Unauthorized(f"no token in the header Authorization: send '{_spelled(scheme)} TOKEN'")
        return secret
    for parameter in rule.parameters:
        secret = request.query_values().get(parameter, "")
        if secret:
            return secret
    raise Unauthorized(rule.hint)


@cached
def credential_of(authorization: bytes) -> tuple[bytes, str]:
    """Return the scheme, in lower case, and the token of a header Authorization, "" where it has none.

    Of Basic authentication the token is the password, as Axiom documents it for Heroku's drains
    (`https://axiom:TOKEN@host/v1/datasets/NAME/ingest`), or the user's name where there is no password. Of the scheme
    ApiKey, which Elastic's clients use, it is what follows the colon in base64, or the value itself.

    Raise Unauthorized for Basic authentication that is none, or without a password and a name.
    """
    scheme, _, sent = authorization.strip().partition(b" ")
    scheme, sent = scheme.lower(), sent.strip()
    if scheme == b"basic":
        try:
            user, _, password = b64decode(sent, validate=True).partition(b":")
        except binascii.Error as error:
            raise Unauthorized("the Authorization header is not Basic authentication, 'Basic BASE64'") from error
        sent = password or user
        if not sent:
            raise Unauthorized("no token: of Basic authentication it is the password")
    elif scheme == b"apikey":
        sent = _api_key(sent)
    return scheme, sent.decode("latin-1")


def _api_key(sent: bytes) -> bytes:
    try:
        _, separator, key = b64decode(sent, validate=True).partition(b":")
    except binascii.Error:
        return sent
    return key if separator and key else sent


def _spelled(name: bytes) -> str:
    """Return the name of a header or of a scheme as its protocol's documents write it."""
    return _SPELLINGS.get(name) or name.decode().title()
