"""Times other drift libraries on the same two frames, in an environment of their own.

Their pins fight with ours, so they are no dependency: `python -m benchmarks --peers` makes a
virtual environment in `build/bench/peers` and installs them (from the network, some hundred MB).
The benchmark uses it when it is there, and says so when it is not.

Run by that environment's own interpreter, this file imports nothing of the house.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

FOLDER: Final = "peers"
PACKAGES: Final = ("evidently", "nannyml", "frouros", "pyarrow", "pandas<3")
_LIMIT_SECONDS: Final = 1_800

# Any: what the peers' own readers return.
Frame = Any


def make(folder: Path) -> Path:
    """Make the environment and return its interpreter."""
    draft = folder.with_name(f"{folder.name}.making")
    venv.create(draft, with_pip=True, clear=True)
    python = python_of(draft)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    # Its scripts name the draft's path; only the interpreter is used.
    draft.rename(folder)
    return python_of(folder)


def python_of(folder: Path) -> Path:
    """Return the interpreter of the environment in a folder."""
    return folder / "bin" / "python"


def seconds_of(python: Path, reference: Path, current: Path) -> dict[str, float | str]:
    """Return what each peer takes, or why it could not be measured.

    Args:
        python: the interpreter of their environment.
        reference: Parquet file.
        current: the window's.
    """
    command = [str(python), __file__, str(reference), str(current)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=_LIMIT_SECONDS
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    found: dict[str, float | str] = json.loads(lines[-1]) if lines else {}
    return found or {"peers": f"failed with exit code {done.returncode}"}


def _evidently(reference: Frame, current: Frame) -> None:
    from evidently import Dataset, Report  # type: ignore[import-not-found]
    from evidently.presets import DataDriftPreset  # type: ignore[import-not-found]

    frames = (Dataset.from_pandas(each) for each in (current, reference))
    Report([DataDriftPreset(method="psi")]).run(*frames)


def _nannyml(reference: Frame, current: Frame) -> None:
    import nannyml  # type: ignore[import-not-found]

    calculator = nannyml.UnivariateDriftCalculator(
        column_names=list(reference.columns), chunk_number=1, continuous_methods=["jensen_shannon"],
        categorical_methods=["jensen_shannon"],
    )  # fmt: skip
    calculator.fit(reference).calculate(current)


def _frouros(reference: Frame, current: Frame) -> None:
    from frouros.detectors.data_drift import PSI  # type: ignore[import-not-found]

    for name in reference.columns:
        if reference[name].dtype.kind == "f":  # it takes numbers only
            detector = PSI(num_bins=10)
            detector.fit(X=reference[name].to_numpy())
            detector.compare(X=current[name].to_numpy())


PEERS: Final[Mapping[str, Callable[[Frame, Frame], None]]] = MappingProxyType(
    {"evidently": _evidently, "nannyml": _nannyml, "frouros": _frouros}
)


def _time(reference: str, current: str) -> None:
    import pandas as pd

    frames = [pd.read_parquet(path) for path in (reference, current)]
    found: dict[str, float | str] = {}
    for name, work in PEERS.items():
        try:
            started = time.perf_counter()
            work(*frames)
            found[name] = time.perf_counter() - started
        except Exception as e:  # noqa: BLE001 - a peer that fails is told, the others still run
            found[name] = f"{type(e).__name__}: {e}"[:120]
    print(json.dumps(found))


if __name__ == "__main__":
    _time(*sys.argv[1:3])
