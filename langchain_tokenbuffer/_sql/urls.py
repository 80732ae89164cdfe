"""What a path, a string or a URL means: a URL of a database, with a driver that is there."""

from __future__ import annotations

import os
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

from sqlalchemy import exc
from sqlalchemy.engine import URL, make_url

if TYPE_CHECKING:
    from collections.abc import Mapping

_DSN = re.compile(
    r"""^[A-Za-z][A-Za-z0-9+_.]+:              # a scheme, of two letters or more: no Windows drive
    |   :[^/\\]*@                              # user:password@host
    |   (^|[\s;])(host|hostaddr|port|db|dbname|database|user|uid|password|pwd|server|service|data\ source)\s*=
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What somebody means who writes no path. Taken for one it would be a file with a password in its name."""
_SAME_DRIVER: Mapping[str, str] = {"sqlite+aiosqlite": "sqlite", "postgresql+psycopg_async": "postgresql+psycopg"}
"""What serves threads with the same driver and options."""
_DEFAULT_DRIVERS: Mapping[str, tuple[str, str, str]] = {
    "postgresql": ("psycopg2", "psycopg", "postgresql+psycopg"),
    "mysql": ("MySQLdb", "pymysql", "mysql+pymysql"),
    "mariadb": ("MySQLdb", "pymysql", "mariadb+pymysql"),
}
"""By the name of a URL without a driver: SQLAlchemy's own, the one to take where that is missing, its name."""


def url_of(connection: str | URL | os.PathLike[str]) -> URL:
    """Return the URL; a string that looks like nothing else is the path of a SQLite file.

    Raises:
        ValueError: If a string is neither; it is not quoted, since it may hold a password.
    """
    if isinstance(connection, os.PathLike):
        return _file_url(os.fspath(connection))
    if connection == ":memory:":
        return make_url("sqlite://")
    if isinstance(connection, str) and "://" not in connection:
        if not connection or _DSN.search(connection):
            msg = (
                "connection is neither a URL nor the path of a SQLite file. Pass a URL, such as "
                "'postgresql://user@host/name', or a pathlib.Path if it is a path."
            )
            raise ValueError(msg)
        return _file_url(connection)
    try:
        url = make_url(connection)
    except exc.ArgumentError:
        # SQLAlchemy quotes the string, password and all.
        msg = "connection is no URL that SQLAlchemy can read"
        raise ValueError(msg) from None
    return url.set(drivername=_driver(url.drivername))


def _file_url(path: str) -> URL:
    return URL.create("sqlite", database=os.path.abspath(path))  # noqa: PTH100  # not resolved: links stay


def _driver(name: str) -> str:
    name = "postgresql" + name.removeprefix("postgres") if name.partition("+")[0] == "postgres" else name
    own, other, instead = _DEFAULT_DRIVERS.get(name, ("", "", ""))
    if other and find_spec(own) is None and find_spec(other) is not None:
        return instead
    return _SAME_DRIVER.get(name, name)


def is_in_memory(url: URL) -> bool:
    """Tell whether it is a SQLite database that lives only as long as a connection to it."""
    database, mode = url.database or ":memory:", url.query.get("mode")
    is_named = ":memory:" in database or "mode=memory" in database
    return url.get_backend_name() == "sqlite" and (is_named or mode == "memory")
