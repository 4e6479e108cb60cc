"""Starts a cell's process in a clean environment, and turns every way to end into an answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from samescore.parity.facts import facts_printed
from samescore.parity.spec import CellAnswer, CellSpec

_KEPT: Final = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "TMPDIR",
    "TZ",
    "VIRTUAL_ENV",
    "CUDA_VISIBLE_DEVICES",
    "JAVA_HOME",
)
"""What a process needs to find its libraries; no variable that changes how one computes."""

_MOST_READ_BYTES: Final = 64 * 2**20
_MOST_SAID: Final = 300


def clean_environment(threads: int, device: str) -> dict[str, str]:
    """Return the variables of a cell before its switches: thread pools of the asked size.

    On a GPU, cuBLAS gets the fixed workspace without which its sums may change from call to call.
    """
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    pools = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment |= dict.fromkeys(pools, str(threads))
    environment |= {"OMP_WAIT_POLICY": "PASSIVE", "PYTHONHASHSEED": "0"}
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3"}
    if device != "cpu":
        environment["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    return environment


def run_cell(spec: CellSpec, switches: Mapping[str, str], timeout_seconds: float) -> CellAnswer:
    """Run a cell to its end, or to the time limit.

    Args:
        spec: what to do.
        switches: variables to set beside the clean ones.
        timeout_seconds: after this the process is killed.

    Returns:
        The answer; a crash and a timeout are answers with an `error`. Facts that the libraries
        printed are among the answer's.
    """
    said, told = spec.folder / "stdout", spec.folder / "stderr"
    path = spec.folder / "spec.json"
    path.write_bytes(spec.to_bytes())
    with said.open("wb") as out, told.open("wb") as err:
        process = subprocess.Popen(  # noqa: S603 - our own module, by this interpreter
            [sys.executable, "-m", "samescore.parity.cell", path],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=clean_environment(spec.threads, spec.device) | dict(switches),
            start_new_session=True,  # so that what it started can be ended with it
        )
        try:
            code = process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            return CellAnswer(error=f"no answer within {timeout_seconds:g} s")
        finally:
            _end(process)
    return _answer(spec, code, told)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill what still runs, on a timeout and on Ctrl-C alike."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answer(spec: CellSpec, code: int, told: Path) -> CellAnswer:
    found = CellAnswer.read(spec.folder)
    if code == 0 and found is not None:
        return found
    return CellAnswer(
        error=f"{_how_it_ended(code)}: {last_words(told.read_text(errors='replace'))}"
    )


def printed_facts(spec: CellSpec) -> dict[str, str]:
    """Return what the libraries printed in a cell's process."""
    with (spec.folder / "stdout").open("rb") as stream:
        return facts_printed(stream.read(_MOST_READ_BYTES).decode(errors="replace").splitlines())


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    return f"killed by {name}"


def last_words(text: str) -> str:
    """Return the last line of what a process said, cut to a bearable length."""
    lines = [line.strip() for line in text.splitlines()]
    last = next((line for line in reversed(lines) if line), "it said nothing")
    return last.removeprefix("Error: ")[:_MOST_SAID]
