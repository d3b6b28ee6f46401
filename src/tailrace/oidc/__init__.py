"""Single sign-on by OpenID Connect: the provider, the authorization code flow, the checks of an ID token.

Its modules but the settings import authlib and joserfc, which the extra `oidc` installs.
"""
