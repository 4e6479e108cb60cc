"""Act 1: the example's own script trains on January to June and bundles four models."""

from __future__ import annotations

import sys
from typing import Final

from samescore.demo.narrator import Narrator
from samescore.demo.processes import run_lines
from samescore.demo.stage import Stage

_QUIET: Final = {"TF_CPP_MIN_LOG_LEVEL": "3"}


def train(stage: Stage, narrator: Narrator, *, small: bool) -> None:
    """Run `train.py` as a user would.

    Raises:
        DemoError: it failed.
    """
    command = [sys.executable, str(stage.example / "train.py"), "--out", str(stage.models)]
    run_lines(
        "training",
        [*command, "--small"] if small else command,
        stage.said("training"),
        narrator.say,
        _QUIET,
    )
