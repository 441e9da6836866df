"""Builds the client of ListAIJob and its credentials from the settings."""

import random

from relay import telemetry
from relay.common.errors import SettingsError
from relay.provider.list_ai_job.client import ListAIJob
from relay.provider.list_ai_job.credentials import CredentialsProvider, Fetch, Renewal, static
from relay.provider.list_ai_job.roles import ecs_role, oidc_role, sts_url
from relay.settings import Settings
from relay.telemetry.events import CredentialsNotRenewed, CredentialsRenewed, UpstreamClockSkewed

NO_CREDENTIALS = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET must be set to poll the provider,"
    " or a role: ALIBABA_CLOUD_ROLE_ARN, ALIBABA_CLOUD_OIDC_PROVIDER_ARN, ALIBABA_CLOUD_OIDC_TOKEN_FILE,"
    " or ALIBABA_CLOUD_ECS_METADATA."
)


def connect(settings: Settings) -> ListAIJob:
    """The client; raises SettingsError where no credentials are set."""
    return ListAIJob(
        settings.upstream_url,
        build_credentials(settings),
        signature=settings.upstream_signature,
        on_clock_skew=lambda seconds: telemetry.emit(UpstreamClockSkewed(seconds)),
    )


def build_credentials(settings: Settings) -> CredentialsProvider:
    """The first credentials that are set: a key, a pod's role (RRSA), an instance's role."""
    if settings.access_key_id is not None and settings.access_key_secret is not None:
        token = settings.security_token
        return static(
            settings.access_key_id.get_secret_value(),
            settings.access_key_secret.get_secret_value(),
            token.get_secret_value() if token else None,
        )
    renewal = Renewal(
        _role(settings),
        random.random,
        on_renewed=lambda seconds: telemetry.emit(CredentialsRenewed(round(seconds))),
        on_failed=lambda why, left, retry_in: telemetry.emit(
            CredentialsNotRenewed(why, round(left), round(retry_in))
        ),
    )
    renewal.start()
    return renewal


def _role(settings: Settings) -> Fetch:
    if settings.role_arn and settings.oidc_provider_arn and settings.oidc_token_file:
        return oidc_role(
            sts_url(settings.sts_region, vpc=settings.vpc_endpoint),
            role_arn=settings.role_arn,
            provider_arn=settings.oidc_provider_arn,
            token_file=settings.oidc_token_file,
            session_name=settings.role_session_name,
        )
    if settings.ecs_role:
        return ecs_role(None if settings.ecs_role.lower() == "true" else settings.ecs_role)
    raise SettingsError([NO_CREDENTIALS])
