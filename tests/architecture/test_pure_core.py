"""The pure core does no I/O, reads no clock and draws no random number.

import-linter sees modules, not `open()` or `datetime.now()`, so this looks at the syntax tree: at
imports, at calls of builtins, and at the names of called methods.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PURE_CORE = (
    "consistency/compare.py",
    "consistency/diagnose.py",
    "consistency/gate.py",
    "consistency/parity.py",
    "consistency/parity_advice.py",
    "consistency/log/sampling.py",
    "consistency/log/shaping.py",
    "consistency/postprocess.py",
    "consistency/log/selection.py",
    "consistency/replay/core.py",
    "consistency/replay/inputs.py",
    "consistency/replay/merge.py",
    "consistency/replay/partial.py",
    "consistency/replay/report.py",
    "consistency/replay/rows.py",
    "consistency/replay/stages.py",
    "consistency/replay/worst.py",
    "consistency/tensor_calls.py",
    "monitors/alerting/settings.py",
    "monitors/alerting/alerts.py",
    "dashboards/backends.py",
    "dashboards/board.py",
    "dashboards/difference.py",
    "dashboards/model.py",
    "dashboards/model_drift.py",
    "dashboards/model_features.py",
    "dashboards/model_replay.py",
    "dashboards/objectives.py",
    "dashboards/overview.py",
    "dashboards/panels.py",
    "dashboards/promql.py",
    "dashboards/red.py",
    "dashboards/render.py",
    "dashboards/tables.py",
    "monitors/buckets.py",
    "monitors/derived.py",
    "monitors/drift/baseline.py",
    "monitors/drift/counting.py",
    "monitors/drift/judgement.py",
    "monitors/drift/plan.py",
    "monitors/drift/putting_back.py",
    "monitors/drift/record.py",
    "monitors/drift/state.py",
    "monitors/drift/windows.py",
    "monitors/edges.py",
    "monitors/online/exemplars.py",
    "monitors/online/number_columns.py",
    "monitors/psi.py",
    "monitors/suites/building/batch_rules.py",
    "monitors/suites/compiled/conditions.py",
    "monitors/suites/building/cross_rules.py",
    "monitors/suites/merging.py",
    "monitors/suites/building/noise.py",
    "monitors/suites/whole/offline_pages.py",
    "monitors/suites/compiled/row_tests.py",
    "monitors/suites/compiled/value_tests.py",
    "monitors/alerting/recordings.py",
    "monitors/reference.py",
    "monitors/reference_blocks.py",
    "monitors/thresholds/calibration.py",
    "monitors/thresholds/days.py",
    "monitors/thresholds/held_out.py",
    "monitors/thresholds/multiplicity.py",
    "monitors/thresholds/ranking.py",
    "monitors/thresholds/rolling.py",
    "monitors/thresholds/sampling.py",
    "monitors/thresholds/segments.py",
    "monitors/thresholds/sequential.py",
    "monitors/thresholds/statistics.py",
    "monitors/online/row_counts.py",
    "monitors/online/row_layout.py",
    "monitors/alerting/rules.py",
    "monitors/alerting/job_alerts.py",
    "monitors/alerting/model_alerts.py",
    "monitors/alerting/rows.py",
    "monitors/alerting/server_alerts.py",
    "monitors/alerting/writer.py",
    "monitors/slo/file.py",
    "monitors/slo/recordings.py",
    "monitors/slo/rules.py",
    "monitors/slo/settings.py",
    "monitors/slo/windows.py",
    "serving/backends/balancing.py",
    "serving/backends/exact_json.py",
    "serving/backends/health.py",
    "serving/core/policy.py",
    "serving/model_server/batching/merging.py",
    "serving/model_server/wire/crc32c.py",
    "serving/model_server/configuration/labels.py",
    "monitors/online/window.py",
)

IMPURE_MODULES = frozenset(
    {
        "asyncio",
        "fileinput",
        "glob",
        "importlib",
        "io",
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "pyarrow.csv",
        "pyarrow.dataset",
        "pyarrow.feather",
        "pyarrow.fs",
        "pyarrow.ipc",
        "pyarrow.json",
        "pyarrow.orc",
        "pyarrow.parquet",
        "numpy.random",
        "random",
        "secrets",
        "shutil",
        "socket",
        "sqlite3",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib",
        "uuid",
    }
)
IMPURE_BUILTINS = frozenset({"__import__", "eval", "exec", "input", "open", "print"})
# Whatever object these are called on, they read or write a file, or read the clock.
IMPURE_METHODS = frozenset(
    {
        "fromfile",
        "genfromtxt",
        "loadtxt",
        "memmap",
        "now",
        "open",
        "read_bytes",
        "read_text",
        "savetxt",
        "savez",
        "today",
        "tofile",
        "unlink",
        "utcnow",
        "write_bytes",
        "write_text",
    }
)
IMPURE_NUMPY = frozenset({"load", "random", "save"})


def impurities(source: str) -> list[str]:
    """List, with their lines, the imports and uses in `source` that reach outside."""
    found = {
        f"line {node.lineno}: {what}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.stmt | ast.expr)
        for what in (*_imports(node), *_calls(node), *_numpy_uses(node))
    }
    return sorted(found)


def _imports(node: ast.AST) -> Iterator[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    for name in names:
        if _prefixes(name) & IMPURE_MODULES:
            yield f"import of {name}"


def _prefixes(name: str) -> set[str]:
    parts = name.split(".")
    return {".".join(parts[: end + 1]) for end in range(len(parts))}


def _calls(node: ast.AST) -> Iterator[str]:
    if not isinstance(node, ast.Call):
        return
    called = ast.unparse(node.func)
    if isinstance(node.func, ast.Name) and called in IMPURE_BUILTINS:
        yield f"call of {called}()"
    if isinstance(node.func, ast.Attribute) and (
        node.func.attr in IMPURE_METHODS or _prefixes(called) & IMPURE_MODULES
    ):
        yield f"call of {called}()"


def _numpy_uses(node: ast.AST) -> Iterator[str]:
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return
    if node.value.id in {"np", "numpy"} and node.attr in IMPURE_NUMPY:
        yield f"use of {node.value.id}.{node.attr}"


@pytest.mark.parametrize("path", PURE_CORE)
def test_a_module_of_the_pure_core_stays_pure(path: str) -> None:
    module = ROOT / path
    assert module.is_file(), f"{path} is part of the pure core but is not there"
    assert impurities(module.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("snippet", "what"),
    [
        ("f = open('x')", "call of open()"),
        ("print('x')", "call of print()"),
        ("import os", "import of os"),
        ("import os.path as p", "import of os.path"),
        ("from os import environ", "import of os"),
        ("os.getenv('TZ')", "call of os.getenv()"),
        ("os.environ.get('TZ')", "call of os.environ.get()"),
        ("import time", "import of time"),
        ("def f():\n    from time import monotonic", "import of time"),
        ("time.time()", "call of time.time()"),
        ("import random", "import of random"),
        ("random.random()", "call of random.random()"),
        ("rng = np.random.default_rng()", "use of np.random"),
        ("from numpy.random import default_rng", "import of numpy.random"),
        ("from numpy import random", "import of numpy.random"),
        ("import io", "import of io"),
        ("import socket", "import of socket"),
        ("import subprocess", "import of subprocess"),
        ("from pathlib import Path", "import of pathlib"),
        ("path.read_text()", "call of path.read_text()"),
        ("path.read_bytes()", "call of path.read_bytes()"),
        ("path.write_text('x')", "call of path.write_text()"),
        ("path.write_bytes(b'x')", "call of path.write_bytes()"),
        ("path.open()", "call of path.open()"),
        ("datetime.now(tz=UTC)", "call of datetime.now()"),
        ("datetime.datetime.utcnow()", "call of datetime.datetime.utcnow()"),
        ("date.today()", "call of date.today()"),
        ("import pyarrow.parquet as pq", "import of pyarrow.parquet"),
        ("from pyarrow import parquet", "import of pyarrow.parquet"),
        ("np.load('x.npy')", "use of np.load"),
        ("array.tofile('x')", "call of array.tofile()"),
    ],
)
def test_the_checker_sees(snippet: str, what: str) -> None:
    found = impurities(snippet)
    assert any(entry.endswith(f": {what}") for entry in found), found


@pytest.mark.parametrize(
    "snippet",
    [
        "import numpy as np\nx = np.abs(a - b) <= 5e-11",
        "from datetime import UTC, datetime\nd = datetime.fromtimestamp(0, tz=UTC)",
        "latency.total_seconds()",
        "from consistency.timeline import Timeline\ntimeline.replay()",
        "def opened(now: float) -> float:\n    return now",
    ],
)
def test_the_checker_lets_pure_code_pass(snippet: str) -> None:
    assert impurities(snippet) == []
