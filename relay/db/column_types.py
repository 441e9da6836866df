"""The column types of the three databases. The migrations use them too: a change here needs a migration."""

from sqlalchemy import BigInteger, Integer, String, Text
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.sql.type_api import TypeEngine

MYSQL = ("mysql", "mariadb")


def ascii_text(length: int) -> TypeEngine[str]:
    """Ids, hashes, states: ASCII, compared byte by byte on every database."""
    return (
        String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), *MYSQL)
    )


def short_text(length: int) -> TypeEngine[str]:
    """Names and URLs: any Unicode, compared byte by byte."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), *MYSQL
    )


def long_text() -> TypeEngine[str]:
    """Payloads of any size; MySQL's TEXT ends at 64 KiB."""
    return Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), *MYSQL)


def serial() -> TypeEngine[int]:
    """A 64-bit key that counts up; SQLite counts only in its INTEGER."""
    return BigInteger().with_variant(Integer(), "sqlite")
