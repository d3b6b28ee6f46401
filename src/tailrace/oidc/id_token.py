"""ID tokens: their signature by a key of the provider, and the claims that they are for this sign-in."""

from typing import Any

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, InvalidKeyIdError, JoseError, UnsupportedAlgorithmError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from tailrace.oidc.errors import IdTokenInvalid

# Of public keys: neither "none", nor HMAC, whose key whoever knows the public one would have.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
LEEWAY_S = 60  # between the provider's clock and this one
MAX_SUBJECT_LENGTH = 255  # characters, OpenID Connect Core 1.0, section 2
MAX_HEADER_BYTES = 8192  # of the token, certificates of its key included


class KeyUnknown(IdTokenInvalid):
    """The token names a key that is not among those given."""


def verified_claims(
    id_token: str,
    keys: KeySet,
    *,
    issuer: str,
    client_id: str,
    nonce: str,
    access_token: str,
    now_s: float,
) -> dict[str, Any]:
    """Return the claims of an ID token; raise IdTokenInvalid, KeyUnknown.

    The checks are those of OpenID Connect Core 1.0, section 3.1.3.7, and of `at_hash` where there is one.
    """
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    registry.max_header_length = MAX_HEADER_BYTES
    try:
        token = jwt.decode(id_token, keys, registry=registry)
    except InvalidKeyIdError as error:
        raise KeyUnknown("the provider's ID token is signed with none of its keys") from error
    except UnsupportedAlgorithmError as error:
        raise IdTokenInvalid("the provider's ID token is signed with an algorithm that is not allowed") from error
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise IdTokenInvalid("the provider's ID token has no valid signature") from error
    claims = CodeIDToken(
        token.claims,
        token.header,
        options={"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": client_id}},
        params={"nonce": nonce, "client_id": client_id, "access_token": access_token},
    )
    try:
        claims.validate(now=int(now_s), leeway=LEEWAY_S)
    except ExpiredTokenError as error:
        raise IdTokenInvalid("the provider's ID token has expired: are the clocks right?") from error
    except ClaimError as error:
        raise IdTokenInvalid(f"the provider's ID token is not for this sign-in: {error.description}") from error
    except (JoseError, ValueError, TypeError) as error:
        raise IdTokenInvalid("the provider's ID token has malformed claims") from error
    if not 0 < len(claims["sub"]) <= MAX_SUBJECT_LENGTH:
        raise IdTokenInvalid("the provider's ID token has no valid subject")
    return dict(claims)
