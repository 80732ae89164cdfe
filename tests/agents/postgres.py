"""A place for checkpoints on PostgreSQL."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

URL = os.environ.get("TOKENBUFFER_TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")


@contextmanager
def schema_url() -> Iterator[str]:
    """Yield the URL of a schema of its own, where a server answers; else skip."""
    psycopg = pytest.importorskip("psycopg")
    url, schema = URL.replace("+psycopg", ""), f"t{uuid.uuid4().hex[:12]}"
    try:
        server = psycopg.connect(url, autocommit=True, connect_timeout=2)
    except psycopg.OperationalError:
        pytest.skip("no PostgreSQL answers")
    with server:
        server.execute(f"CREATE SCHEMA {schema}")
        try:
            yield f"{url}?options=-csearch_path%3D{schema}"
        finally:
            server.execute(f"DROP SCHEMA {schema} CASCADE")
