"""Runs a suite over the raw records of a request log, and says which requests break it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from consistency.codecs import CODECS
from consistency.errors import DataError
from consistency.jsontype import Json
from consistency.log import LoggedRequest
from consistency.protocols import Damage
from consistency.records import Record
from consistency.schema import FeatureSchema
from monitors.errors import MonitorError
from monitors.suites.compiled.compiler import CompiledSuite, Level, compile_suite
from monitors.suites.compiled.rules import AnyRule
from monitors.suites.compiled.value_tests import Verdict
from monitors.suites.naming import columns_of
from monitors.suites.whole.gx import ExpectationOutcome, run_checkpoint

if TYPE_CHECKING:
    import pandas as pd

_NO_FEATURES: Final = FeatureSchema((), ())


@dataclass(slots=True)
class LoggedRecords:
    """The raw records of one model in a log, in the order of the log, refused requests included.

    Attributes:
        records: JSON objects.
        origins: request id and row in that request, for each of them.
        requests: that held at least one.
        without_records: requests that hold none: feature rows, or bodies that cannot be read.
        no_objects: rows that are no JSON object.
    """

    records: list[Record] = field(default_factory=list)
    origins: list[tuple[str, int]] = field(default_factory=list)
    requests: int = 0
    without_records: int = 0
    no_objects: int = 0

    def take(self, request: LoggedRequest) -> None:
        """Decode a request's payload as the server did, and keep its records."""
        given = _records_of(request)
        if given is None:
            self.without_records += 1
            return
        self.requests += 1
        for row, record in enumerate(given):
            if isinstance(record, dict):
                self.records.append(record)
                self.origins.append((request.request_id, row))
            else:
                self.no_objects += 1


def _records_of(request: LoggedRequest) -> Any:  # noqa: ANN401 - JSON as it came, or None
    codec = CODECS.get(request.payload.codec)
    if codec is None:
        return None
    try:
        return codec.decode(request.payload, _NO_FEATURES).records
    except DataError:  # feature rows do not fit an empty schema either
        return None


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A row that breaks an expectation.

    Attributes:
        request_id: in the log; the name of a file.
        row: in that request.
        value: what the field held, None for null and absent; an object of a rule over several.
    """

    request_id: str
    row: int
    value: Json


@dataclass(frozen=True, slots=True)
class CheckedExpectation:
    """One expectation, its verdict, and the rows behind it.

    Attributes:
        outcome: what Great Expectations says.
        level: what it judges.
        unexpected_rows: how many rows break it.
        first: the first of them.
        needed_rows: from how many rows on its bounds are wider than chance; 1 of a row's rule.
        decides: whether there were so many; without, it is shown, and cannot fail the check.
    """

    outcome: ExpectationOutcome
    level: Level
    unexpected_rows: int
    first: tuple[Unexpected, ...]
    needed_rows: int = 1
    decides: bool = True

    @property
    def fails(self) -> bool:
        """Whether it makes the check fail."""
        return self.decides and not self.outcome.success

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        found = self.outcome
        return {
            "type": found.kind,
            "column": ",".join(columns_of(dict(found.kwargs))) or None,
            "kwargs": dict(found.kwargs),
            "level": self.level.value,
            "success": found.success,
            "unexpected_rows": self.unexpected_rows,
            "needed_rows": self.needed_rows,
            "decides": self.decides,
            "observed_value": found.observed,
            "problem": found.problem,
            "first_unexpected": [
                {"request_id": u.request_id, "row": u.row, "value": u.value} for u in self.first
            ],
        }


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a suite says of a model's logged records.

    Attributes:
        model: its name; suite: the suite's name.
        rows: records checked; requests: that they came in.
        without_records: requests that hold no raw record; no_objects: rows that are no object.
        expectations: in the order of the suite.
    """

    model: str
    suite: str
    rows: int
    requests: int
    without_records: int
    no_objects: int
    expectations: tuple[CheckedExpectation, ...]

    @property
    def success(self) -> bool:
        """Whether every expectation holds that there were rows enough to judge."""
        return not any(e.fails for e in self.expectations)

    @property
    def too_few(self) -> tuple[CheckedExpectation, ...]:
        """The expectations about a batch that may fail on so few rows by chance."""
        return tuple(e for e in self.expectations if not e.decides)

    def to_json(self) -> dict[str, Json]:
        """Return JSON types."""
        return {
            "model": self.model,
            "suite": self.suite,
            "success": self.success,
            "rows": self.rows,
            "requests": self.requests,
            "requests_without_records": self.without_records,
            "rows_that_are_no_objects": self.no_objects,
            "expectations": [e.to_json() for e in self.expectations],
        }


def collect_records(
    items: Iterable[LoggedRequest | Damage], models: Iterable[str]
) -> tuple[dict[str, LoggedRecords], list[Damage]]:
    """Return the raw records of the named models, and what of the log cannot be read."""
    found = {name: LoggedRecords() for name in models}
    damage: list[Damage] = []
    for item in items:
        if isinstance(item, Damage):
            damage.append(item)
        elif item.model[0] in found:
            found[item.model[0]].take(item)
    return found, damage


def file_records(name: str, records: Iterable[Record]) -> LoggedRecords:
    """Return records of a file, each with the file's name in place of a request id."""
    found = LoggedRecords()
    for row, record in enumerate(records):
        if isinstance(record, dict):
            found.records.append(record)
            found.origins.append((name, row))
        else:
            found.no_objects += 1
    return found


def check_records(
    model: str, suite: Mapping[str, Json], logged: LoggedRecords, *, show: int
) -> CheckReport:
    """Run a suite as a Great Expectations checkpoint over logged records.

    Args:
        model: whose records they are.
        suite: the suite's JSON.
        logged: at least one record.
        show: rows to name for each expectation.

    Raises:
        ConfigError: Great Expectations is not installed, or cannot read the suite.
        MonitorError: there is no record.
    """
    if not logged.records:
        raise MonitorError(
            f"the log holds no raw record of model {model!r} "
            f"({logged.without_records} requests without any); there is nothing to check"
        )
    compiled = compile_suite(suite)
    outcomes = run_checkpoint(suite, frame_of(logged.records, columns_read(suite)))
    return CheckReport(
        model,
        compiled.name,
        len(logged.records),
        logged.requests,
        logged.without_records,
        logged.no_objects,
        tuple(
            _checked(o, compiled, logged, show, needed=_needed(suite["expectations"][o.position]))
            for o in outcomes
        ),
    )


def frame_of(records: Sequence[Record], columns: Iterable[str]) -> pd.DataFrame:
    """Return records as object columns: every value as it was parsed, None where the key is absent.

    Args:
        records: N raw records.
        columns: of the suite; those that no record holds are all None.
    """
    import pandas as pd

    names = dict.fromkeys([*columns, *(key for record in records for key in record)])
    return pd.DataFrame(
        {n: pd.Series([r.get(n) for r in records], dtype=object) for n in names},
        index=range(len(records)),
    )


def _value(record: Record, columns: tuple[str, ...]) -> Json:
    """Return what the fields held: a value, or an object of several."""
    return record.get(columns[0]) if len(columns) == 1 else {c: record.get(c) for c in columns}


def columns_read(suite: Mapping[str, Json]) -> list[str]:
    """Return the fields that a suite reads, those of its conditions too, each once."""
    compiled = compile_suite(suite)
    named = [c for held in suite["expectations"] for c in columns_of(held.get("kwargs", {}))]
    asked = [c for r in compiled.rules if r.condition is not None for c in r.condition.columns]
    return list(dict.fromkeys([*named, *asked]))


def _checked(
    outcome: ExpectationOutcome,
    compiled: CompiledSuite,
    logged: LoggedRecords,
    show: int,
    needed: int,
) -> CheckedExpectation:
    rule = next((r for r in compiled.rules if r.position == outcome.position), None)
    left = next((x for x in compiled.left_out if x.position == outcome.position), None)
    rows = outcome.unexpected
    if outcome.problem and rule is not None:
        # GX gives up on the whole column; the compiled rule knows which rows made it.
        rows = _broken(rule, logged.records)
    columns = columns_of(dict(outcome.kwargs))
    first = tuple(
        Unexpected(*logged.origins[i], value=_value(logged.records[i], columns))
        for i in rows[:show]
    )
    level = Level.ROW if left is None else left.level
    decides = len(logged.records) >= needed
    return CheckedExpectation(outcome, level, len(rows), first, needed, decides)


def _needed(expectation: Mapping[str, Json]) -> int:
    facts = (expectation.get("meta") or {}).get("samescore")
    needed = facts.get("batch_rows") if isinstance(facts, dict) else None
    return needed if type(needed) is int else 1


def _broken(rule: AnyRule, records: list[Record]) -> tuple[int, ...]:
    verdicts = map(rule.judge_record, records)
    return tuple(i for i, v in enumerate(verdicts) if v is not Verdict.MEETS)
