"""Single sign-on of the settings, where they have one that can be used."""

import time

from tailrace.access.identities import IdentityProvider
from tailrace.server.data_directory import refuse
from tailrace.server.settings import Settings


def single_sign_on(settings: Settings) -> IdentityProvider | None:
    """Return the provider of single sign-on, None without one or without a console; raise SystemExit."""
    oidc = settings.oidc
    if not oidc.issuer or not settings.console.enabled:
        return None
    if not oidc.client_id:
        refuse("setting oidc_issuer needs oidc_client_id, the id of the client that the provider has for this server")
    if "openid" not in oidc.scopes:
        refuse("setting oidc_scopes lacks openid, without which there is no sign-in")
    try:
        from tailrace.oidc.single_sign_on import SingleSignOn
    except ModuleNotFoundError as error:
        refuse(f"setting oidc_issuer needs the package {error.name}: pip install tailrace[oidc] has it")
    return SingleSignOn(oidc, time.time)
