"""PMML models (`model.pmml`) in a Java virtual machine beside this process.

PMML4S (Apache-2.0, by way of pypmml's jars) scores. A whole batch goes over in one call as JSON,
whose numbers are exact both ways; a call costs about half a millisecond, a row 20 to 70 µs, so PMML
is for models that exist in no other form, at moderate rates.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import ScorerInfo
from consistency.records import Column
from consistency.scored import Outputs
from serving.loaders.runtimes.devices import CPU, only_cpu
from serving.loaders.runtimes.java_gateway import Java, JavaMachine
from serving.loaders.runtimes.threads import cores

FILE: Final = "model.pmml"
MAX_BYTES: Final = 512 * 1024**2
_MODEL: Final = "org.pmml4s.model.Model"
_TEXTS: Final = frozenset({"string", "date", "time", "dateTime"})


def load(folder: Path, threads: int | None, device: str = CPU) -> PmmlScorer:
    """Load `model.pmml` from a folder.

    Args:
        folder: holds the file.
        threads: processors that the Java machine uses, None for every core. All PMML models of a
            process with the same number share one machine.
        device: `cpu`.

    Raises:
        BundleError: the file is missing, or PMML4S cannot read it.
        ConfigError: another device; no Java; a document that declares entities.
    """
    import pypmml

    only_cpu("PMML", device)
    count = threads or cores()
    path = folder / FILE
    _check_document(folder, path)
    jars = Path(pypmml.__file__).parent / "jars"
    machine = _machine(str(jars / "*"), count)
    info = ScorerInfo(f"in_process/pmml4s {pypmml.__version__}", "float64", threads=count)
    return PmmlScorer(path, machine, info)


class PmmlScorer:
    """Scores with all outputs of a PMML model, by name.

    Features reach the model by name; the model's fields must be among them. NaN means missing.
    Numeric outputs are float64, NaN where the model gives none; labels are texts.
    """

    def __init__(self, path: Path, machine: JavaMachine, info: ScorerInfo) -> None:
        self._path, self._machine, self._info = path, machine, info
        self._owner, self._model = 0, None
        model = self._here()
        self._fields = [field.name() for field in model.inputFields()]
        outputs = {f.name(): f.dataType().toString() for f in model.outputFields()}
        self._texts = frozenset(name for name, kind in outputs.items() if kind in _TEXTS)

    @property
    def info(self) -> ScorerInfo:
        """The version of PMML4S, float64, threads."""
        return self._info

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the model's outputs by name, first axis N.

        Raises:
            BackendError: a field of the model is no feature, an infinite feature, PMML4S failed, or
                the Java machine died (the next call starts another one).
        """
        answer = self._predict(self._request(features))
        held = orjson.loads(answer)
        rows = held["data"]
        if len(rows) != features.rows:
            raise BackendError(f"PMML4S answered {len(rows)} rows for {features.rows}")
        return {
            name: _column([row[j] for row in rows], name in self._texts)
            for j, name in enumerate(held["columns"])
        }

    def _request(self, features: FeatureBatch) -> str:
        known = features.columns()
        lacking = [name for name in self._fields if name not in known]
        if lacking:
            raise BackendError(
                f"the model's field {lacking[0]!r} is no feature; the features are"
                f" {', '.join(known)}: name the features as the PMML document names its fields"
            )
        columns = [_cells(name, known[name]) for name in self._fields]
        data = [list(row) for row in zip(*columns, strict=True)] if columns else []
        return orjson.dumps({"columns": self._fields, "data": data}).decode()

    def _predict(self, request: str) -> str:
        from py4j.protocol import Py4JError, Py4JJavaError

        try:
            answer: str = self._here().predict(request)
        except Py4JJavaError as error:
            raise BackendError(f"PMML4S failed: {error.java_exception.toString()}") from error
        except (OSError, Py4JError) as error:
            self._machine.forget()
            self._owner = 0
            raise BackendError(f"the Java machine does not answer: {error}") from error
        return answer

    def _here(self) -> Java:
        """Return the Java model, loaded into this process's machine."""
        from py4j.protocol import Py4JJavaError

        classes = self._machine.classes()
        if self._owner != os.getpid():
            try:
                self._model = classes.org.pmml4s.model.Model.fromFile(str(self._path))
            except Py4JJavaError as error:
                raise BundleError(
                    self._path.parent,
                    f"PMML4S cannot read {FILE}: {error.java_exception.toString()}",
                ) from error
            self._owner = os.getpid()
        return self._model


@cache
def _machine(classpath: str, threads: int) -> JavaMachine:
    return JavaMachine(classpath, threads)


def _check_document(folder: Path, path: Path) -> None:
    if not path.is_file():
        raise BundleError(folder, f"{FILE} is missing; a PMML model is that file")
    if path.stat().st_size > MAX_BYTES:
        raise BundleError(folder, f"{FILE} is larger than {MAX_BYTES} bytes")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(folder, f"{FILE} is not UTF-8: {error}") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # An entity can name any file of this machine, and the parser would put it in.
        raise ConfigError(f"{path} declares a document type or entities; PMML needs neither")


def _cells(name: str, values: Column) -> Sequence[object]:
    """Return a feature as JSON takes it; NaN becomes null, PMML's missing value."""
    cells: list[object] = values.tolist()
    if values.dtype.kind != "f":
        return cells
    if np.isinf(values).any():
        raise BackendError(f"feature {name!r} is infinite in a row; PMML knows no infinity")
    return [None if isinstance(v, float) and math.isnan(v) else v for v in cells]


def _column(cells: list[object], is_text: bool) -> Column:
    if is_text or any(isinstance(cell, str) for cell in cells):
        return np.array(["" if cell is None else str(cell) for cell in cells], object)
    return np.array([np.nan if cell is None else cell for cell in cells], np.float64)
