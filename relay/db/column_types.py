"""The types of columns, each with a variant for every dialect.

The migrations use them too: a change of what a dialect returns needs a migration.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import BigInteger, String, Text, text
from sqlalchemy.sql.type_api import TypeEngine

from relay.db.dialects import DIALECTS, Dialect


def ascii_text(length: int) -> TypeEngine[str]:
    """Ids, hashes, states: ASCII, compared byte by byte on every database."""
    return _with_variants(String(length), lambda dialect: dialect.ascii_text(length))


def short_text(length: int) -> TypeEngine[str]:
    """Names and URLs: any Unicode, compared byte by byte."""
    return _with_variants(String(length), lambda dialect: dialect.short_text(length))


def long_text() -> TypeEngine[str]:
    """Payloads of any size."""
    return _with_variants(Text(), lambda dialect: dialect.long_text())


def serial() -> TypeEngine[int]:
    """A 64-bit key that counts up."""
    return _with_variants(BigInteger(), lambda dialect: dialect.serial())


def table_options() -> dict[str, str]:
    """The options of a table beyond columns, constraints and indexes, for every dialect."""
    return {name: value for dialect in DIALECTS.values() for name, value in dialect.table_options.items()}


def where_set(column: str) -> dict[str, Any]:
    """The options of an index over rows whose `column` is set: partial where databases can."""
    clause = text(f"{column} IS NOT NULL")
    return {f"{dialect.name}_where": clause for dialect in DIALECTS.values() if dialect.has_partial_indexes}


def _with_variants(
    general: TypeEngine[Any], variant: Callable[[Dialect], TypeEngine[Any]]
) -> TypeEngine[Any]:
    for dialect in set(DIALECTS.values()):
        general = general.with_variant(variant(dialect), dialect.name)
    return general
