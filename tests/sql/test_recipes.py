"""The recipe that serves many users, on the databases that it names."""

from __future__ import annotations

import runpy
import uuid
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from tests.builders import ROOT
from tests.sql.conftest import url_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("fastapi")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database, or a schema of its own in one, without tables."""
    found = sa.make_url(url_of(request.param, tmp_path))
    if request.param == "sqlite":
        yield str(found)
        return
    name = f"t{uuid.uuid4().hex[:12]}"
    engine = sa.create_engine(found)
    with engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema(name))
    own = found.update_query_dict({"options": f"-csearch_path={name}"})
    yield own.render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(sa.schema.DropSchema(name, cascade=True))
    engine.dispose()


def test_fifty_users_at_once_each_have_their_own_conversation(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKENBUFFER_EXAMPLE_URL", url)
    runpy.run_path(str(ROOT / "examples" / "fastapi_chat.py"), run_name="__main__")
    assert "600 messages are stored, each in its own conversation: True" in capsys.readouterr().out
