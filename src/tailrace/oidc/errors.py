"""What keeps a sign-in at a provider from ending in one."""

from tailrace.events import TailraceError, Unauthorized


class ProviderUnavailable(TailraceError):
    """The provider does not answer, or not as OpenID Connect has it."""

    status = 503
    code = "provider_unavailable"
    retryable = True


class SignInInvalid(Unauthorized):
    """The sign-in is not one that this browser began, or the provider refused it."""

    code = "sign_in_invalid"


class IdTokenInvalid(Unauthorized):
    """The ID token is not one that the provider made for this sign-in."""

    code = "id_token_invalid"
