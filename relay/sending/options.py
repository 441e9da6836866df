"""A sender's options. Apart from `engine`, so that a dispatcher never loads libcurl."""

from dataclasses import dataclass
from pathlib import Path

from relay.endpoints.rules.addresses import Network


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderOptions:
    """How requests are sent."""

    schemes: tuple[str, ...]  # `http` or `https`; endpoints saved while more was allowed are refused
    allow: tuple[Network, ...]  # networks that callbacks may reach although they are not public
    ca_file: Path | None  # authorities (PEM) to trust beside the public ones
    dns_servers: tuple[str, ...]  # name servers to ask, as `ip` or `ip:port`; none means the system's
    max_connections: int  # idle connections that are kept, beside the busy ones
    connect_timeout: float = 5.0  # seconds for TCP and TLS together, inside each request's deadline
