"""Subscribers, their API keys and signing secrets."""

from sqlalchemy import BigInteger, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from relay.db.column_types import ascii_text, long_text, short_text
from relay.db.tables.base import HASH, ID, Base


class Subscriber(Base):
    """A service that calls the API."""

    __tablename__ = "subscribers"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(short_text(100), unique=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    disabled_at: Mapped[int | None] = mapped_column(BigInteger)


class ApiKey(Base):
    """A subscriber's key, stored as its hash; `key_prefix` is its first letters, for people."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"), index=True)
    sha256: Mapped[str] = mapped_column(HASH, unique=True)
    key_prefix: Mapped[str] = mapped_column(ascii_text(16))
    created_at: Mapped[int] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)


class SigningSecret(Base):
    """An encrypted `whsec_` secret of an endpoint, or of the subscriber (`endpoint_id` NULL).

    A secret with `expires_at` NULL is current; a rotated one signs beside it until it expires.
    """

    __tablename__ = "signing_secrets"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    subscriber_id: Mapped[str] = mapped_column(ID, ForeignKey("subscribers.id"), index=True)
    endpoint_id: Mapped[str | None] = mapped_column(ID, ForeignKey("endpoints.id"), index=True)
    sealed: Mapped[str] = mapped_column(long_text())
    created_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
