"""A failed golden gate, told in full: which feature, whose code, and does it explain the scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from consistency.bundle import Bundle, GoldenSet
from consistency.compare import Compared, Tolerance, compare
from consistency.diagnose import explain_feature
from consistency.errors import DataError
from consistency.features import FeatureBatch, take_rows
from consistency.gate import GateReport
from consistency.protocols import Scorer
from consistency.scored import Scores
from samescore.pytest_plugin.checks.subjects import Installed
from samescore.pytest_plugin.telling.findings import (
    Evidence,
    Finding,
    Verdict,
    digits,
    distance,
    shown_path,
    shown_record,
)
from samescore.pytest_plugin.telling.suspects import code_of, maker_of, shown, source_of

_SIDES: Final = ("golden", "here")


def gate_facts(report: GateReport) -> dict[str, float | int | str]:
    """Return what machines may know of a gate: the worst batch size's figures."""
    worst = min(report.checks, key=lambda c: c.scores.agree_ratio)
    facts: dict[str, float | int | str] = {
        "rows": worst.scores.rows,
        "agree_ratio": worst.scores.agree_ratio,
        "bit_identical_ratio": worst.scores.identical_ratio,
        "max_abs_diff": worst.scores.max_abs_diff,
        "max_ulps": worst.scores.max_ulps,
        "decimals": report.decimals,
        "batch_sizes": " ".join(str(c.batch_rows) for c in report.checks),
    }
    if worst.features is not None:
        facts["feature_agree_ratio"] = min(
            c.features.agree_ratio for c in report.checks if c.features is not None
        )
    return facts


@dataclass(frozen=True, slots=True)
class GoldenFailure:
    """A failed gate, looked at again.

    Attributes:
        bundle: whose gate it is; golden: its golden rows.
        installed: the pipeline, or None for a model that is sent feature rows.
        scorer: the model as it was gated.
        report: what the gate said.
    """

    bundle: Bundle
    golden: GoldenSet
    installed: Installed | None
    scorer: Scorer
    report: GateReport

    def finding(self) -> Finding:
        """Return the first difference in the order of the data's way: record, feature, score."""
        made = self._features()
        if isinstance(made, Finding):
            return made
        if made is not None:
            found = self._feature_finding(made)
            if found is not None:
                return found
        return self._score_finding()

    def _features(self) -> FeatureBatch | Finding | None:
        """Return the features of all golden records, or what is wrong with the first refused."""
        records = self.golden.records
        if self.installed is None or records is None:
            return None
        try:
            return self.installed.bound(records)
        except DataError as e:
            row = -1 if e.row is None else e.row
            record = "" if row < 0 else shown_record(records[row])
            evidence = Evidence(
                row, "payload", e.field or "", "features", str(e), _SIDES, record=record
            )
            return Finding(
                Verdict.FAILED,
                f"{self._summary()}: a golden record is refused",
                evidence,
                cause=self._changed("the raw schema, or a check of it"),
                properties=gate_facts(self.report),
            )

    def _feature_finding(self, made: FeatureBatch) -> Finding | None:
        tolerance = Tolerance(self.report.decimals)
        columns = self.golden.features.columns()
        compared = {n: compare(v, columns[n], tolerance) for n, v in made.columns().items()}
        differ = {n: c for n, c in compared.items() if not c.agreeing.all()}
        if not differ:
            return None
        name, first = next(iter(differ.items()))
        rows = {n: int((~c.agreeing.all(axis=1)).sum()) for n, c in differ.items()}
        listed = ", ".join(f"{n} ({k} of {self.golden.rows} rows)" for n, k in rows.items())
        return Finding(
            Verdict.FAILED,
            f"{self._summary()}; first differs feature {name!r}",
            self._evidence(name, first),
            cause=self._cause(first, differ, len(compared) - len(differ)),
            notes=[f"differ     {listed}", *self._effect(differ)],
            properties={**gate_facts(self.report), "feature": name},
            source="" if self.installed is None else source_of(self.installed, [*differ]),
        )

    def _evidence(self, name: str, compared: Compared) -> Evidence:
        row, online, offline = first_difference(compared)
        abs_diff, ulps = distance(offline, online)
        maker = None if self.installed is None else maker_of(self.installed.unbound, name)
        records = self.golden.records
        return Evidence(
            row,
            "features",
            name,
            digits(offline),
            digits(online),
            _SIDES,
            abs_diff,
            ulps,
            made_by="" if maker is None else shown(maker),
            record="" if records is None else shown_record(records[row]),
        )

    def _cause(self, compared: Compared, differ: Mapping[str, Compared], agreeing: int) -> str:
        bad = ~compared.agreeing.all(axis=1)
        here, golden = compared.online[bad].ravel(), compared.offline[bad].ravel()
        if here.dtype.kind == "f":
            sides = (("here", here, "golden", golden), ("golden", golden, "here", here))
            for name_a, a, name_b, b in sides:
                found = explain_feature(a, b)
                if found.proven:
                    roles = f"(online: {name_a}, offline: {name_b})"
                    return f"proven: {found.cause}: {found.evidence} {roles}"
        rest = f"the other {agreeing} features agree" if agreeing else "no feature agrees"
        return self._changed(code_of(self.installed, [*differ]), f"; {rest}")

    def _changed(self, what: str, rest: str = "") -> str:
        if self.installed is None or not self.installed.changed:
            return (
                "unproven; the pipeline's sources are the bundle's, so likely another version of "
                f"a package that computes, or the machine: see the items of environment{rest}"
            )
        package = self.installed.package
        return f"likely {what}: the sources of {package} are not the bundle's{rest}"

    def _effect(self, differ: dict[str, Compared]) -> list[str]:
        """Put the golden features back: do the scores agree then?"""
        scores = self.bundle.manifest.postprocess(self.scorer.score(self.golden.features))
        tolerance = Tolerance(self.report.decimals)
        wrong = min(c.scores.rows_agreeing for c in self.report.checks)
        bad, total = self.golden.rows - wrong, self.golden.rows
        if compare(scores, self.golden.scores, tolerance).summary.agrees:
            names = ", ".join(differ)
            back = f"with the golden values of {names} put back, none does"
            return [f"effect     {bad} of {total} scores differ; {back}"]
        return [f"effect     {bad} of {total} scores differ, also with the golden features"]

    def _score_finding(self) -> Finding:
        """Score the golden features as the gate did, in batches of the first size that failed."""
        check = next(c for c in self.report.checks if not c.passed)
        tolerance = Tolerance(self.report.decimals)
        compared = compare(self._scores(check.batch_rows), self.golden.scores, tolerance)
        evidence = None
        if not compared.agreeing.all():
            row, online, offline = first_difference(compared)
            evidence = Evidence(
                row, "scores", "score", digits(offline), digits(online), _SIDES,
                *distance(offline, online),
            )  # fmt: skip
        cause = "unproven; the features agree: the model computes otherwise here"
        if compare(self._scores(self.golden.rows), self.golden.scores, tolerance).summary.agrees:
            cause = (
                "proven: batch_variance: in one batch of all golden rows every score agrees; "
                'bundle the model with execution "float64" or "padded:N"'
            )
        return Finding(
            Verdict.FAILED,
            f"{self._summary()} (scores, batch {check.batch_rows})",
            evidence,
            cause=cause,
            notes=str(self.report).splitlines()[1:],
            properties=gate_facts(self.report),
        )

    def _scores(self, batch_rows: int) -> Scores:
        starts = range(0, self.golden.rows, batch_rows)
        parts = [take_rows(self.golden.features, slice(i, i + batch_rows)) for i in starts]
        postprocess = self.bundle.manifest.postprocess
        return np.concatenate([postprocess(self.scorer.score(part)) for part in parts])

    def _summary(self) -> str:
        worst = min(c.scores.rows_agreeing for c in self.report.checks)
        return (
            f"golden gate of {shown_path(self.bundle.path)}: {worst} of {self.golden.rows} golden "
            f"rows agree to {self.report.decimals} decimals"
        )


def first_difference(compared: Compared) -> tuple[int, object, object]:
    """Return the first row that disagrees, and its first two values that do: online, offline."""
    row = int(np.flatnonzero(~compared.agreeing.all(axis=1))[0])
    column = int(np.flatnonzero(~compared.agreeing[row])[0])
    return row, _plain(compared.online[row, column]), _plain(compared.offline[row, column])


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
