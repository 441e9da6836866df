"""Where the provider's credentials come from: a callable that is asked anew for every signature.

A callable, so that a provider of temporary credentials can renew them behind it while calls go on.
"""

from collections.abc import Callable

from relay.core.provider_signing import Credentials

CredentialsProvider = Callable[[], Credentials]
"""Returns at once with credentials that are valid now."""


def static(
    access_key_id: str, access_key_secret: str, security_token: str | None = None
) -> CredentialsProvider:
    """Return always the same: an access key of the settings, or STS credentials that someone else renews."""
    credentials = Credentials(access_key_id, access_key_secret, security_token)
    return lambda: credentials
