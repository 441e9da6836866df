"""A sender's options. Apart from `engine`, so that a dispatcher never loads libcurl."""

from dataclasses import dataclass
from pathlib import Path

from relay.endpoints.rules.addresses import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """How an engine sends; `SenderClient` says what each means."""

    schemes: tuple[str, ...]
    allow: tuple[Network, ...]
    ca_bundle: Path
    dns_servers: tuple[str, ...]
    max_connections: int
    connect_timeout: float
