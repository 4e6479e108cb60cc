"""Classifications and regressions to the bodies that answer `:classify` and `:regress`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from serving.faces.tfs_rest.json_write import decimals, quote, record
from serving.model_server.status import invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tensorflow_serving.apis.classification_pb2 import ClassificationResult
    from tensorflow_serving.apis.regression_pb2 import RegressionResult


def classification_body(result: ClassificationResult, *, exact: bool = False) -> bytes:
    """Return `{"results": [[[label, score], ...], ...]}`.

    Raises:
        StatusError: INVALID_ARGUMENT, nothing was classified.
    """
    if not result.classifications:
        raise invalid("Cannot convert empty ClassificationResults to JSON")
    rows = []
    for classifications in result.classifications:
        scores = _floats((c.score for c in classifications.classes), exact=exact)
        labels = (
            quote(c.label.encode("utf-8", "surrogateescape")) for c in classifications.classes
        )
        pairs = (b"[" + b", ".join(pair) + b"]" for pair in zip(labels, scores, strict=True))
        rows.append(b"[" + b", ".join(pairs) + b"]")
    return record([(b"results", _last_line(rows))], 0)


def _last_line(rows: list[bytes]) -> bytes:
    return b"[" + b", ".join(rows) + b"\n    ]"


def regression_body(result: RegressionResult, *, exact: bool = False) -> bytes:
    """Return `{"results": [value, ...]}`.

    Raises:
        StatusError: INVALID_ARGUMENT, nothing was regressed.
    """
    if not result.regressions:
        raise invalid("Cannot convert empty RegressionResults to JSON")
    values = _floats((r.value for r in result.regressions), exact=exact)
    return record([(b"results", b"[" + b", ".join(values) + b"]")], 0)


def _floats(values: Iterable[float], *, exact: bool) -> list[bytes]:
    return decimals(np.fromiter(values, dtype=np.float32), exact=exact)
