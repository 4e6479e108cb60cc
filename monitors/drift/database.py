"""Opens the database of a drift history by its URL, and tells what is wrong without its password.

SQLAlchemy's own messages are not shown where they could hold a part of the URL: a password may
stand before the host, in the query, or in what cannot be read as a URL at all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
    SQLAlchemyError,
)

from consistency.errors import ConfigError
from monitors.drift.tables import FORMAT, FORMATS, METADATA
from monitors.errors import MonitorError

SQLITE_FILE: Final = "history.sqlite"
BUSY_SECONDS: Final = 60
"""How long a run waits for the write of another one to end, with SQLite."""

_DISTRIBUTIONS: Final = {"psycopg": "'psycopg[binary]'", "MySQLdb": "mysqlclient"}
"""What installs a driver, where that is called otherwise."""

_WRITES: Final = "samescore_writes"
_EXAMPLES: Final = (
    "sqlite:////var/lib/samescore/history.sqlite or postgresql+psycopg://user@host/database"
)


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file."""
    return URL.create("sqlite", database=str(path)).render_as_string()


class Database:
    """A database that holds drift histories.

    Args:
        url: SQLAlchemy's, `dialect+driver://user:password@host/name`.

    Raises:
        ConfigError: it is no URL, or its dialect or driver is not installed.
    """

    def __init__(self, url: str) -> None:
        parsed = _parsed(url)
        self.place = _place(parsed)
        """Where it is, without user and password."""
        self._secrets = _secrets(parsed)
        self._engine = self._created(parsed)
        if parsed.get_backend_name() == "sqlite":
            _set_up_sqlite(self._engine)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a transaction that writes; it is committed at the end, or rolled back.

        Raises:
            MonitorError: the database cannot be reached, read or written.
        """
        with (
            self._told(),
            self._engine.execution_options(**{_WRITES: True}).begin() as connection,
        ):
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction that reads; see `writing`."""
        with self._told(), self._engine.begin() as connection:
            yield connection

    def create(self) -> None:
        """Make the tables that are missing.

        Raises:
            MonitorError: see `writing`; or they are of another release.
        """
        if self.holds_tables():
            return  # nothing to write: no waiting for others that do
        try:
            self._create()
        except (MonitorError, IntegrityError):
            self._create()  # two first runs at once: the other one has made them by now

    def holds_tables(self) -> bool:
        """Return whether there is a history.

        Raises:
            MonitorError: the database cannot be reached; or its tables are of another release.
        """
        with self.reading() as connection:
            found = inspect(connection).has_table(FORMATS.name)
            if found:
                self._check(connection)
        return found

    def _create(self) -> None:
        with self.writing() as connection:
            METADATA.create_all(connection)
            self._check(connection)

    def _check(self, connection: Connection) -> None:
        version = connection.scalar(select(FORMATS.c.version))
        if version is None:
            connection.execute(FORMATS.insert().values(version=FORMAT))
        elif version != FORMAT:
            raise MonitorError(
                f"{self.place}: a drift history of format {version}, this reads {FORMAT}; read it "
                f"with the release that wrote it, or name another --history"
            )

    def _created(self, url: URL) -> Engine:
        options = {"timeout": BUSY_SECONDS} if url.get_backend_name() == "sqlite" else {}
        try:
            return create_engine(url, connect_args=options)
        except NoSuchModuleError as e:
            raise ConfigError(
                f"--history: no database of the kind {url.drivername!r} is known; write it like "
                f"{_EXAMPLES}"
            ) from e
        except ModuleNotFoundError as e:
            raise ConfigError(
                f"--history {self.place}: its driver {e.name!r} is not installed; pip install "
                f"{_DISTRIBUTIONS.get(e.name or '', e.name)}"
            ) from e
        except (SQLAlchemyError, TypeError, ValueError):
            raise ConfigError(
                f"--history {self.place}: an option of the URL is wrong; write it like {_EXAMPLES}"
            ) from None

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what the database says into an error of the house, less what is secret."""
        try:
            yield
        except IntegrityError:
            raise  # two runs at once; who writes knows what to do
        except DBAPIError as e:
            raise MonitorError(
                f"--history {self.place}: {self._without_secrets(str(e.orig))}; the database must "
                f"be there, and let this user read and write"
            ) from None
        except SQLAlchemyError as e:
            raise MonitorError(f"--history {self.place}: {self._without_secrets(str(e))}") from None

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return " ".join(text.split())


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # `from None`: what is no URL may still hold a password.
        raise ConfigError(
            f"--history: that is no database URL; write it like {_EXAMPLES}"
        ) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise ConfigError(
            "--history: an SQLite database in memory keeps nothing; name a file, for example "
            "sqlite:////var/lib/samescore/history.sqlite"
        )
    return parsed


def _place(url: URL) -> str:
    bare = URL.create(url.drivername, host=url.host, port=url.port, database=url.database)
    return bare.render_as_string()


def _secrets(url: URL) -> list[str]:
    """Return what no message may hold, longest first: passwords, in each form they may have."""
    held = [str(url.password)] if url.password else []
    for value in url.query.values():
        held += [value] if isinstance(value, str) else list(value)
    forms = {form for secret in held if secret for form in (secret, quote(secret, safe=""))}
    return sorted(forms, key=lambda form: (-len(form), form))


def _set_up_sqlite(engine: Engine) -> None:
    """Let transactions begin and end where SQLAlchemy says, and writers queue up.

    A transaction that first reads and then wants to write fails at once when another has written
    in between; one that says from its beginning that it will write waits its turn.
    """

    @event.listens_for(engine, "connect")
    def connected(connection: DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        connection.cursor().execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
