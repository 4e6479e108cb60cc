"""Runs one check in a process of its own: `python -m samescore.pytest_plugin.fresh`.

The process reads the configuration and the check's id as JSON from standard input and writes the
finding as JSON to the file that it is told: what a model library prints cannot get in between.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import orjson

from consistency.errors import SamescoreError
from consistency.jsontype import Json
from samescore.pytest_plugin.catalogue import Check, every_check
from samescore.pytest_plugin.configuring.configuration import settings_from
from samescore.pytest_plugin.configuring.settings import Settings
from samescore.pytest_plugin.telling.findings import Finding, Verdict, labelled

_SHOWN_ERROR: Final = 2_000
_SHOWN_FRAMES: Final = 3
_MODULE: Final = "samescore.pytest_plugin.fresh"


def run_check(check: Check) -> Finding:
    """Carry out a check in this process; what makes it impossible is a failure, told in words."""
    try:
        with warnings.catch_warnings():
            # a server does not turn numpy's warnings of overflow into errors; a test run may
            warnings.simplefilter("ignore", RuntimeWarning)
            return check.run()
    except SamescoreError as e:
        return Finding(Verdict.FAILED, f"{check.group}: {e}")
    except ModuleNotFoundError as e:
        return Finding(
            Verdict.FAILED,
            f"{check.group}: needs the package {e.name!r}, which is not installed; pip install it "
            "(the plugin's own needs: pip install 'samescore[pytest]')",
        )
    except Exception as e:  # noqa: BLE001 - a team's own code may raise anything
        return _raised(check, e)


def _raised(check: Check, error: Exception) -> Finding:
    """Tell an exception of a team's code in words: what it says, and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    last = frames[-1]
    place = f"{last.filename}:{last.lineno}"
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}"
    called = [f"{f.filename}:{f.lineno} in {f.name}: {f.line}" for f in frames[-_SHOWN_FRAMES:]]
    return Finding(
        Verdict.FAILED,
        f"{check.group}: {type(error).__name__} at {place}: {error}",
        notes=[labelled("calls", "\n".join(called))],
    )


def run_fresh(check: Check, settings: Settings) -> Finding:
    """Carry out a check in a fresh process with this one's import path and environment."""
    with tempfile.TemporaryDirectory(prefix="samescore-check-") as folder:
        answer = Path(folder) / "finding.json"
        ended = subprocess.run(  # noqa: S603 - this very interpreter and module
            [sys.executable, "-m", _MODULE, str(answer)],
            input=orjson.dumps(_request(check, settings), default=str),
            env=environment(),
            capture_output=True,
            check=False,
        )
        if ended.returncode == 0 and answer.exists():
            return Finding.from_json(orjson.loads(answer.read_bytes()))
    said = ended.stderr.decode(errors="replace")[-_SHOWN_ERROR:]
    how = (
        f"was killed by signal {-ended.returncode}"
        if ended.returncode < 0
        else f"ended with {ended.returncode}"
    )
    return Finding(
        Verdict.FAILED,
        f"{check.group}: the process of this check {how}",
        notes=["its last words:", *said.splitlines()],
    )


def environment() -> dict[str, str]:
    """Return this process's environment variables, and its import path, for another one."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


def _request(check: Check, settings: Settings) -> dict[str, Json]:
    return {
        "source": str(settings.source),
        "table": settings.table,
        "group": check.group,
        "item": check.item,
    }


def carry_out(request: Mapping[str, Json]) -> Finding:
    """Find the check that is asked for, and run it."""
    settings = settings_from(Path(request["source"]), request["table"])
    wanted = request["group"], request["item"]
    return run_check(next(c for c in every_check(settings) if (c.group, c.item) == wanted))


def main() -> None:
    """Answer one request."""
    finding = carry_out(orjson.loads(sys.stdin.buffer.read()))
    Path(sys.argv[1]).write_bytes(orjson.dumps(finding.to_json()))


if __name__ == "__main__":
    main()
