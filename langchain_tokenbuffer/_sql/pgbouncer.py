"""PostgreSQL behind a pooler that gives each transaction another server, such as pgbouncer's transaction mode.

There a prepared statement is not where it is looked for. Such a pooler answers with a backend's number of its own, so
it is found out once for each engine, by a connection that prepares nothing; then connections are made accordingly.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import URL, exc

_QUERY = "pgbouncer"  # of a URL: true or false; libpq knows none of that name

_PSYCOPG: Mapping[str, Any] = {"prepare_threshold": None}
_UNPREPARED: Mapping[str, Mapping[str, Any]] = {
    "psycopg": _PSYCOPG,
    "psycopg_async": _PSYCOPG,
    "asyncpg": {
        "statement_cache_size": 0,  # asyncpg's own
        "prepared_statement_cache_size": 0,  # SQLAlchemy's
        "prepared_statement_name_func": str,  # an unnamed one is parsed anew where it is executed
    },
}
"""By driver, with what arguments it connects to prepare nothing."""
_BACKEND: Mapping[str, Callable[[Any], int]] = {
    "psycopg": lambda connection: connection.info.backend_pid,
    "psycopg_async": lambda connection: connection.info.backend_pid,
    "asyncpg": lambda connection: connection.get_server_pid(),
}
"""By driver, the backend's number as a connection was told."""
_LOST = ("26000", "42P05")  # SQLSTATE: a prepared statement that is not there, or that another has prepared

_TOO_OLD = (
    f"Behind pgbouncer asyncpg needs a newer SQLAlchemy than {sa.__version__}: pip install --upgrade sqlalchemy, or "
    "connect with postgresql+psycopg. If the pooler keeps prepared statements, pass ?pgbouncer=false in the URL."
)

_is_pooled: weakref.WeakKeyDictionary[sa.Dialect, bool] = weakref.WeakKeyDictionary()


def split_url(url: URL) -> tuple[URL, bool | None]:
    """Return a URL without `?pgbouncer=true`, and whether it says so; `None` if that is to be found out."""
    value = url.query.get(_QUERY)
    if url.get_backend_name() != "postgresql" or value is None:
        return url, None
    if value not in ("true", "false"):
        msg = f"{_QUERY} in a URL must be true or false, got {value!r}"
        raise ValueError(msg)
    return url.difference_update_query([_QUERY]), value == "true"


def note(dialect: sa.Dialect, *, is_pooled: bool) -> None:
    """Let an engine's connections prepare nothing, or what their driver does; an engine is known by its dialect."""
    _is_pooled[dialect] = is_pooled


def watch(engine: sa.Engine) -> None:
    """Let the connections that an engine makes from now on be of the right kind."""
    if engine.dialect.driver in _UNPREPARED and not sa.event.contains(engine, "do_connect", _on_do_connect):
        sa.event.listen(engine, "do_connect", _on_do_connect)


def forget_lost(connection: sa.Connection, error: exc.DBAPIError) -> None:
    """After a statement was lost let the next connection prepare none, and this one be the last that does."""
    if getattr(error.orig, "sqlstate", None) in _LOST:
        note(connection.dialect, is_pooled=True)
        connection.invalidate()


def _on_do_connect(dialect: sa.Dialect, _record: object, arguments: Any, options: dict[str, Any]) -> None:
    unprepared = _UNPREPARED[dialect.driver]
    if unprepared.keys() & options.keys():
        return  # whose engine it is has decided
    is_able = dialect.driver != "asyncpg" or _names_statements()
    if dialect not in _is_pooled:
        first = unprepared if is_able else {}
        note(dialect, is_pooled=_finds_pooler(dialect, arguments, {**options, **first}))
    if _is_pooled[dialect]:
        if not is_able:
            raise RuntimeError(_TOO_OLD)
        options.update(unprepared)


def _names_statements() -> bool:
    """Tell whether SQLAlchemy lets one name the statements that it prepares with asyncpg; at first it did not."""
    from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_connection  # noqa: PLC0415

    return hasattr(AsyncAdapt_asyncpg_connection, "_prepared_statement_name_func")


def _finds_pooler(dialect: sa.Dialect, arguments: Any, options: Mapping[str, Any]) -> bool:
    connection = dialect.connect(*arguments, **options)
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone() or (None,)
        cursor.close()
        connection.rollback()
        return bool(backend != _BACKEND[dialect.driver](dialect.get_driver_connection(connection)))
    except Exception as error:
        if getattr(error, "sqlstate", None) in _LOST:
            return True  # another's statement had its name
        raise
    finally:
        connection.close()
