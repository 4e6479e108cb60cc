"""The URL of a history: what is wrong is told, and never a password."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from consistency.errors import ConfigError, SamescoreError
from monitors.drift.database import Database, sqlite_url
from monitors.drift.history import DriftHistory
from monitors.errors import MonitorError

SECRET = "s3cr%40et"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("history.sqlite", "that is no database URL; write it like sqlite:////var/lib"),
        (f"postgresql:/me:{SECRET}@h/db", "that is no database URL"),
        (f"nosuch://me:{SECRET}@h/db", "no database of the kind 'nosuch' is known"),
        (f"mysql+nosuch://me:{SECRET}@h/db", "no database of the kind 'mysql+nosuch' is known"),
        (f"oracle+oracledb://me:{SECRET}@h/db", "its driver 'oracledb' is not installed"),
        (f"postgresql://me:{SECRET}@h:port/db", "that is no database URL"),
        ("sqlite://", "an SQLite database in memory keeps nothing"),
        ("sqlite:///:memory:", "an SQLite database in memory keeps nothing"),
    ],
)
def test_an_unusable_url_is_told(url: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Database(url)
    assert said in str(caught.value)
    assert "--history" in str(caught.value)
    assert "s3cr" not in str(caught.value)
    assert caught.value.__cause__ is None or "s3cr" not in str(caught.value.__cause__)


def test_a_database_that_is_not_there_is_told_without_what_is_secret(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/away/h.sqlite?password={SECRET}&uri=true")
    with pytest.raises(SamescoreError) as caught:
        DriftHistory(database).jobs()
    assert "h.sqlite" in str(caught.value)
    assert "s3cr" not in str(caught.value)
    database.close()


def test_a_password_in_what_the_database_says_is_covered(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/h.sqlite")
    database._secrets = ["no such table"]
    expected = pytest.raises(MonitorError, match=r"h\.sqlite: \*\*\*: t; the database must")
    with expected, database.reading() as connection:
        connection.exec_driver_sql("SELECT * FROM t")
    database.close()


def test_tables_of_another_release_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    database = Database(sqlite_url(path))
    database.create()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE samescore_drift_format SET version = 7")
    connection.close()
    with pytest.raises(MonitorError, match="a drift history of format 7, this reads 1"):
        database.create()
    with pytest.raises(MonitorError, match="format 7"):
        DriftHistory(database).jobs()
    database.close()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "h.sqlite"
    path.write_bytes(b"nothing of the kind, but long enough to be looked at" * 40)
    database = Database(sqlite_url(path))
    with pytest.raises(MonitorError, match="file is not a database"):
        database.create()
    database.close()
