from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

HEAVY = ("keras", "sklearn", "matplotlib")


def said(program: str) -> list[str]:
    """Run a program in a process of its own; return the lines it printed."""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_tensorflow_starts_without_keras_and_keras_comes_when_it_is_asked_for() -> None:
    lines = said(f"""
import sys
from serving.loaders.runtimes.tensorflow_runtime import import_tensorflow, start_tensorflow

tf = start_tensorflow(1)
print(sorted(sys.modules.keys() & set({HEAVY})))
print(tf.keras.Sequential.__module__, tf.optimizers.Adam.__module__)
import keras.src.optimizers
from tensorflow.keras.layers import Dense
print(Dense is keras.layers.Dense, import_tensorflow() is tf)
""")
    assert lines == ["[]", "keras.src.models.sequential keras.src.optimizers.adam", "True True"]


def test_tensorflow_and_keras_that_are_there_already_are_left_alone() -> None:
    lines = said("""
import sys
import keras
from serving.loaders.runtimes.tensorflow_runtime import import_tensorflow

held = sys.modules["keras.src.optimizers"]
import_tensorflow()
print(sys.modules["keras.src.optimizers"] is held)
""")
    assert lines == ["True"]
