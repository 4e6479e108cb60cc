"""Request ids beside counts: of each bucket and each outcome, the last request that was counted.

They lie in the same cells as the counts, so they outlive a worker as these do, and whichever worker
is scraped shows the newest of all. What is done better here than with client libraries' exemplars:
those are kept by the process that observed, so behind several workers, or after a crash, a scrape
shows one worker's or none; and the id is not a trace's, which sampling may have thrown away, but
the one that the request log, the reply's header and `samescore log cat --request-id` have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from prometheus_client.samples import Exemplar, Timestamp

from monitors.online.cells import Words

ID_BYTES: Final = 40
"""What is kept of a request id; ours have 30 to 34, a longer one is cut."""
ID_WORDS: Final = ID_BYTES // 8
LABEL: Final = "request_id"

_TIME: Final = ID_WORDS
"""The cell with the moment at which the request ended, in microseconds since the epoch."""
_VALUE: Final = ID_WORDS + 1
WIDTH: Final = ID_WORDS + 2
"""Cells of one exemplar."""
_US_PER_SECOND: Final = 1_000_000


def note_last(
    table: Words, places: NDArray[np.intp], who: NDArray[np.intp], ids: Words, ended_us: Words,
    values: Words,
) -> None:  # fmt: skip
    """Keep in each place the last of the requests that belong there.

    Args:
        table: the exemplars, shape (places, `WIDTH`); changed.
        places: of each observation, shape (M,).
        who: the number of its request, ascending within a place, shape (M,).
        ids: of the requests, shape (N, `ID_WORDS`).
        ended_us: of the requests, shape (N,).
        values: what was observed, shape (M,).
    """
    last = np.full(len(table), -1, np.int64)
    np.maximum.at(last, places, np.arange(len(places)))
    found = np.flatnonzero(last >= 0)
    observed = last[found]
    table[found, :ID_WORDS] = ids[who[observed]]
    table[found, _TIME] = ended_us[who[observed]]
    table[found, _VALUE] = values[observed]


def newer(ours: Words, theirs: Words) -> Words:
    """Return of each place the exemplar that is newer; shape (places, `WIDTH`)."""
    return np.where((theirs[:, _TIME] > ours[:, _TIME])[:, None], theirs, ours)


def exemplars(table: Words, scale: float | None) -> Sequence[Exemplar | None]:
    """Return the exemplar of each place, None where there is no request.

    Args:
        table: shape (places, `WIDTH`).
        scale: what a value is divided by; None: each counts as 1.
    """
    return [_exemplar(row, scale) for row in table]


def _exemplar(row: Words, scale: float | None) -> Exemplar | None:
    text = row[:ID_WORDS].tobytes().rstrip(b"\0").decode("utf-8", "replace")
    if not text:
        return None
    seconds, us = divmod(int(row[_TIME]), _US_PER_SECOND)
    value = 1.0 if scale is None else int(row[_VALUE]) / scale
    return Exemplar({LABEL: text}, value, Timestamp(seconds, us * 1000))
