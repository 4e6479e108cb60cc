"""What a check found, and how it is told: no traceback, all digits, a cause, a command."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

import numpy as np
import orjson

from consistency.compare import ulp_distance
from consistency.jsontype import Json

_LABEL_WIDTH: Final = 11
_SHOWN_RECORD: Final = 2_000


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not run"
    """It could not be checked: skipped loudly, or a failure where the configuration is strict."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """The first value that differs.

    Attributes:
        row: index in the request or the records, -1 when it is not of one row.
        stage: payload, features, outputs, scores.
        name: of the feature, output or score.
        expected: the value that should be; got: the value found. All digits, as Python prints them.
        sides: what the two are called, expected first.
        heading: which of the values that differ this one is.
        request_id: of the logged request, or empty.
        made_by: the pipeline's function that makes the feature, with file and line, or empty.
        record: the raw record as JSON, or empty.
    """

    row: int
    stage: str
    name: str
    expected: str
    got: str
    sides: tuple[str, str]
    abs_diff: float | None = None
    ulps: int = -1
    heading: str = "first difference"
    request_id: str = ""
    made_by: str = ""
    record: str = ""

    def lines(self) -> list[str]:
        """Return the facts, one a line."""
        size = None
        if self.abs_diff is not None:
            size = f"{self.abs_diff!r}" + (f", {self.ulps:,} ULPs" if self.ulps >= 0 else "")
        facts = {
            "request": self.request_id,
            "row": None if self.row < 0 else str(self.row),
            "stage": self.stage,
            _KINDS.get(self.stage, "name"): self.name,
            "made by": self.made_by,
            self.sides[0]: self.expected,
            self.sides[1]: self.got,
            "|Δ|": size,
            "record": self.record,
        }
        return [labelled(name, text) for name, text in facts.items() if text]


_KINDS: Final = {"features": "feature", "outputs": "output", "payload": "field"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        verdict: how it ended.
        summary: one line.
        evidence: the first value that differs, if one does.
        cause: the proven cause, or the likely one, said so.
        remedy: what to do.
        notes: further lines.
        warnings: what a passing check has to say all the same.
        properties: facts for machines, for example ``rows`` and ``agree_ratio``.
        source: ``path:line`` of the code at fault, for annotations; empty when it is not known.
    """

    verdict: Verdict
    summary: str
    evidence: Evidence | None = None
    cause: str = ""
    remedy: str = ""
    notes: Sequence[str] = ()
    warnings: Sequence[str] = ()
    properties: Mapping[str, float | int | str] = field(default_factory=dict)
    source: str = ""

    def text(self, command: str) -> str:
        """Return what a red item shows.

        Args:
            command: reproduces it when it is pasted into a shell.
        """
        lines = [self.summary]
        if self.evidence is not None:
            lines += ["", self.evidence.heading, *(f"  {line}" for line in self.evidence.lines())]
        lines += ["", *self.notes] if self.notes else []
        lines += [""] if self.cause or self.remedy else []
        lines += [labelled("cause", self.cause)] if self.cause else []
        lines += [labelled("remedy", self.remedy)] if self.remedy else []
        return "\n".join([*lines, "", labelled("reproduce", command)])

    def to_json(self) -> dict[str, Json]:
        """Return JSON types, the inverse of `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Json]) -> Self:
        """Read what `to_json` returned."""
        evidence = value["evidence"]
        if evidence is not None:
            evidence = Evidence(**{**evidence, "sides": tuple(evidence["sides"])})
        held = {**value, "verdict": Verdict(value["verdict"]), "evidence": evidence}
        return cls(**held)


def labelled(name: str, text: str) -> str:
    """Return a name and a text, the texts of several lines below each other.

    >>> labelled("row", "3")
    'row        3'
    """
    indented = text.replace("\n", "\n" + " " * _LABEL_WIDTH)
    return f"{name:<{_LABEL_WIDTH}}{indented}"


def digits(value: object) -> str:
    """Return a value with all its digits.

    >>> digits(np.float64(0.1))
    '0.1'
    """
    return _printed(value.item() if isinstance(value, np.generic) else value)


def distance(a: object, b: object) -> tuple[float | None, int]:
    """Return |a - b| and their distance in ULPs of float64; None and -1 if there is none.

    >>> distance(1.0, 1.0000000000000002)
    (2.220446049250313e-16, 1)
    """
    if type(a) not in _NUMBERS or type(b) not in _NUMBERS:
        return None, -1
    x, y = float(a), float(b)  # type: ignore[arg-type]  # narrowed by the line above
    if not (math.isfinite(x) and math.isfinite(y)):
        return None, -1
    return abs(x - y), int(ulp_distance(np.array([x]), np.array([y]))[0])


_NUMBERS: Final = (float, int)


def shown_record(record: Json) -> str:
    """Return a raw record as one line, in Python's notation where JSON has none for it (NaN)."""
    text = _printed(record)
    try:
        as_json = orjson.dumps(record).decode()
        text = as_json if repr(orjson.loads(as_json)) == text else text
    except (TypeError, ValueError):  # what JSON cannot hold
        pass
    return text if len(text) <= _SHOWN_RECORD else text[:_SHOWN_RECORD] + " ... (cut)"


def _printed(value: Json) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # Python prints no integer of more than 4300 digits
        return f"a {type(value).__name__} that cannot be printed"


def shown_path(path: Path) -> str:
    """Return a path below the working directory where it lies there."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
