"""The tables of a drift history, for any database that SQLAlchemy speaks to.

A window has one row for each time that its judgement changed (`revision` 1, 2, ...); none is ever
changed or removed, but for the marks `latest`, `settled` and `too_late`. `record` is the whole of
it, as JSON; the other columns, and the table of measures, are there for SQL.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import MEDIUMTEXT

FORMAT: Final = 1
"""Version of these tables; another one is refused, never guessed at."""

_DIGEST: Final = String(128)
_LONG_TEXT: Final = Text().with_variant(MEDIUMTEXT(), "mysql", "mariadb")
"""MySQL's plain TEXT ends at 64 KB."""

METADATA: Final = MetaData()

FORMATS: Final = Table(
    "samescore_drift_format",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
)

JOBS: Final = Table(
    "samescore_drift_job",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("model", String(255), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("bundle_digest", _DIGEST, nullable=False),
    Column("reference_digest", _DIGEST, nullable=False),
    Column("length_s", Integer, nullable=False),
    Column("time_basis", String(16), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("cursor_s", BigInteger),
    Column("settings", Text, nullable=False),
    UniqueConstraint(
        "model", "version", "bundle_digest", "reference_digest", "length_s", "time_basis",
        name="samescore_drift_job_is_one",
    ),
)  # fmt: skip

WINDOWS: Final = Table(
    "samescore_drift_window",
    METADATA,
    Column("job_id", Integer, ForeignKey(JOBS.c.id), primary_key=True, autoincrement=False),
    Column("start_s", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("end_s", BigInteger, nullable=False),
    Column("latest", Boolean, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("judged_at_s", Double, nullable=False),
    Column("complete", Boolean, nullable=False),
    Column("settled", Boolean, nullable=False),
    Column("too_late", BigInteger, nullable=False),
    Column("verdict", String(32), nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("scored_rows", BigInteger, nullable=False),
    Column("score_psi", Double),
    Column("settings", Text, nullable=False),
    Column("record", _LONG_TEXT, nullable=False),
    Index("samescore_drift_window_latest", "job_id", "latest", "start_s"),
)

MEASURES: Final = Table(
    "samescore_drift_measure",
    METADATA,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    Column("start_s", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", Integer, primary_key=True, autoincrement=False),
    Column("name", String(255), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("psi", Double),
    Column("drifted", Boolean, nullable=False),
    Column("decides", Boolean, nullable=False),
    Column("missing_ratio", Double),
    Column("unseen_ratio", Double),
    Column("reason", Text, nullable=False),
    ForeignKeyConstraint(
        ["job_id", "start_s", "revision"],
        [WINDOWS.c.job_id, WINDOWS.c.start_s, WINDOWS.c.revision],
    ),
)
