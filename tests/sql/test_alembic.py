"""The tables as SQLAlchemy's `MetaData`, for tools that compare and create tables."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from langchain_tokenbuffer.sql import metadata
from tests.builders import turn
from tests.sql import release_0_1_0

if TYPE_CHECKING:
    from tests.sql.conftest import Place

pytest.importorskip("alembic")

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext


def differences(place: Place, schema: str | None = None) -> list[Any]:
    """Return what Alembic would change in our tables, those of other tests aside."""

    def is_ours(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "schema":
            return name == schema
        return kind != "table" or str(name).startswith(place.prefix)

    options = {"include_name": is_ours, "include_schemas": schema is not None, "compare_type": True}
    engine = place.engine()
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        found = compare_metadata(context, metadata(place.prefix, schema))
    engine.dispose()
    return list(found)


@pytest.mark.parametrize("are_older", [False, True], ids=["new", "brought up"])
def test_alembic_finds_nothing_to_change(empty_place: Place, are_older: bool) -> None:  # noqa: FBT001
    if are_older:
        release_0_1_0.fill(empty_place)
    empty_place.history("s").create_tables()
    assert differences(empty_place) == []


def test_tables_that_the_metadata_created_are_missing_only_their_version(empty_place: Place) -> None:
    engine = empty_place.engine()
    metadata(empty_place.prefix).create_all(engine)
    engine.dispose()
    empty_place.history("s", create_tables=True).add_messages(turn(0))
    assert empty_place.history("s", create_tables=False).messages == turn(0)
    assert differences(empty_place) == []


def test_alembic_finds_the_tables_of_a_schema(place: Place, session_id: str) -> None:
    if not place.url.startswith("postgresql"):
        pytest.skip("only PostgreSQL has schemas of this kind")
    schema = f"tenant-{uuid.uuid4().hex[:8]}"
    place.change(sa.text(f'CREATE SCHEMA "{schema}"'))
    place.history(session_id, schema=schema).create_tables()
    found = differences(place, schema)
    place.change(sa.text(f'DROP SCHEMA "{schema}" CASCADE'))
    assert found == []


def test_the_metadata_names_the_tables_and_where_they_are() -> None:
    assert sorted(metadata("chat", "tenant-1").tables) == [
        f"tenant-1.chat_{name}" for name in ("messages", "schema", "sessions", "terms")
    ]
    assert all(re.fullmatch("t_[a-z]+", name) for name in metadata("t").tables)
