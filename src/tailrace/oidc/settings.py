"""The settings of single sign-on."""

from typing import Annotated, Literal

from msgspec import Meta

from tailrace.events.secrets import WithSecrets

# https, but for a provider on this machine: the code and the secret are sent to it.
SAFE_URL = r"https://[^\s#]+|http://(localhost|127\.0\.0\.1|\[::1\])(:[0-9]+)?(/[^\s#]*)?"


class OidcSettings(WithSecrets, frozen=True):
    """The provider that users of the console sign in at, none where the issuer is empty."""

    issuer: Annotated[
        str,
        Meta(
            pattern=rf"^({SAFE_URL})?$",
            description="Issuer of the OpenID Connect provider that users of the console may sign in at, as its "
            "discovery document names it: `https://…`, or `http://` on this machine; needs `pip install "
            "tailrace[oidc]`; if empty, there is no single sign-on.",
        ),
    ] = ""
    client_id: Annotated[str, Meta(description="Id of the client that the provider has for this server.")] = ""
    client_secret: Annotated[
        str,
        Meta(
            description="Secret of that client; if empty, it is a public client.",
            extra={"secret": "any text"},
        ),
    ] = ""
    name: Annotated[
        str, Meta(min_length=1, description="Name of the provider on the sign-in page, behind `Sign in with`.")
    ] = "single sign-on"
    scopes: Annotated[tuple[str, ...], Meta(description="Scopes that are asked for; `openid` is one of them.")] = (
        "openid",
        "email",
        "profile",
    )
    new_users: Annotated[
        Literal["refused", "none", "read-only", "user", "admin"],
        Meta(
            description="What becomes of a person whose verified email no user has: refused, or made a user of the "
            "first organisation with this role."
        ),
    ] = "refused"
    email_domains: Annotated[
        tuple[str, ...],
        Meta(description="Domains of the emails that may sign in, such as `example.com`; if none, all may."),
    ] = ()
    trust_emails: Annotated[
        bool,
        Meta(
            description="Take emails for verified of which the provider does not say whether they are. Only for "
            "one whose users cannot choose theirs."
        ),
    ] = False
    groups_claim: Annotated[
        str,
        Meta(
            description="Claim with the names of a person's groups: at each sign-in they are made a member of the "
            "first organisation's groups of these names, and of no others; if empty, groups are not touched."
        ),
    ] = ""
    timeout_s: Annotated[
        float, Meta(gt=0, le=60, description="Longest call of the provider, from connecting to the answer.")
    ] = 10.0
