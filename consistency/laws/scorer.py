"""Laws of a backend: a row's score depends on the row alone.

Not on the size of its batch, its place in it, who shares it, how often it is scored, how many
threads compute, or on which device. Each check scores for real, compares every raw output at ten
decimals and bit for bit, and cannot pass without having compared rows: what cannot be checked
raises `LawNotRunError` with the reason. `laws.controls` plants the fault that each must find.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from consistency.compare import Tolerance
from consistency.errors import ConfigError
from consistency.features import FeatureBatch, take_rows
from consistency.laws.invariance import Invariance, ScorerLaw, ScorerViolation, Watch
from consistency.laws.verdict import LawNotRunError, plain
from consistency.protocols import Scorer
from consistency.records import Column
from consistency.scored import Outputs

DEFAULT_SIZES: Final = (1, 7, 64)
MOST_ROWS: Final = 4096
"""The first rows of what is given: more are not scored."""


def check_batch_size_invariance(
    scorer: Scorer,
    features: FeatureBatch,
    sizes: Sequence[int] = DEFAULT_SIZES,
    *,
    decimals: int = 10,
) -> Invariance:
    """Check that every batch size gives the scores of the first one.

    Few rows are repeated until the largest batch is a full one with a rest behind it.

    Args:
        scorer: the backend, execution mode included.
        features: N >= 2 real rows; at most 4096 are scored at each size.
        sizes: the sizes to compare, the first as the reference.
        decimals: that must agree.

    Raises:
        ScorerViolation: naming the size and the first row that differs, with both values.
        LawNotRunError: fewer than two rows or two sizes, so that nothing could differ.
    """
    law = ScorerLaw.BATCH_SIZE_INVARIANT
    if len(set(sizes)) < 2 or min(sizes) < 1:
        raise LawNotRunError(f"batch sizes {tuple(sizes)}: give at least two different ones >= 1")
    _expect_different_rows(features)
    rows = np.arange(max(min(features.rows, MOST_ROWS), max(sizes) + 1)) % features.rows
    many = take_rows(features, rows)
    first, *others = sizes
    watch = Watch(law, _in_batches(law, scorer, many, first), rows, Tolerance(decimals))
    for size in others:
        outputs = _in_batches(law, scorer, many, size)
        watch.expect_same(f"in batches of {size}, not {first}", outputs)
    return watch.invariance()


def check_order_invariance(
    scorer: Scorer, features: FeatureBatch, *, decimals: int = 10
) -> Invariance:
    """Check that the order of a batch and who shares it change no row's score.

    The batch is scored as it is, reversed, in mixed order, and with rows replaced by others.

    Raises:
        ScorerViolation: naming the order and the first row that differs, with both values.
        LawNotRunError: there are no two different rows.
    """
    law = ScorerLaw.ORDER_INVARIANT
    _expect_different_rows(features)
    rows = np.arange(min(features.rows, MOST_ROWS))
    reference = _score(law, scorer, take_rows(features, rows), "as they are")
    watch = Watch(law, reference, rows, Tolerance(decimals))
    for situation, order in _orders(len(rows)):
        outputs = _score(law, scorer, take_rows(features, order), situation)
        watch.expect_same(situation, outputs, order)
    return watch.invariance()


def _orders(total: int) -> Iterator[tuple[str, NDArray[np.intp]]]:
    rows = np.arange(total)
    yield "in reverse order", rows[::-1]
    yield "in mixed order", np.argsort(rows * 7919 % 104_729, kind="stable")
    # each row is missing in one of these two: whatever only it brings into a batch is gone there
    yield "with every odd row replaced by the one before", rows // 2 * 2
    yield "with every even row replaced by the one behind", np.minimum(rows // 2 * 2 + 1, total - 1)
    yield "with every row but the last replaced by the first", np.where(rows < total - 1, 0, rows)


def check_repeatability(
    scorer: Scorer, features: FeatureBatch, repeats: int = 5, *, decimals: int = 10
) -> Invariance:
    """Check that scoring again gives the same again, and changes nothing that was given before.

    That is: neither the features handed in, nor an answer already returned (a backend that reuses
    its output buffer breaks the answers still being read).

    Raises:
        ScorerViolation: naming the repeat and the first row that differs, with both values.
        LawNotRunError: no rows, or no repeat.
    """
    law = ScorerLaw.REPEATABLE
    if repeats < 1 or not features.rows:
        raise LawNotRunError(f"{repeats} repeats of {features.rows} rows compare nothing")
    rows = np.arange(min(features.rows, MOST_ROWS))
    batch = take_rows(features, rows)
    before = copy.deepcopy(batch)
    first = _score(law, scorer, batch, "the first time")
    watch = Watch(law, copy.deepcopy(dict(first)), rows, Tolerance(decimals))
    for i in range(repeats):
        outputs = _score(law, scorer, batch, f"repeat {i + 1}")
        watch.expect_same(f"repeat {i + 1}", outputs)
    watch.expect_same("the first answer, after the later ones", first)
    _expect_unchanged(law, before, batch)
    return watch.invariance()


def check_thread_invariance(
    load: Callable[[int], Scorer],
    features: FeatureBatch,
    threads: Sequence[int] = (1, 2),
    *,
    decimals: int = 10,
) -> Invariance:
    """Check that the number of threads changes no score.

    Args:
        load: gives the backend with so many threads.
        features: N >= 1 real rows, better hundreds: a library may use one thread for few.
        threads: the numbers to compare, the first as the reference.
        decimals: that must agree.

    Raises:
        ScorerViolation: naming the number of threads and the first row that differs.
        LawNotRunError: a backend cannot be had, or says that it computes with another number.
    """
    law = ScorerLaw.THREAD_INVARIANT
    wanted = [(f"{n} threads" if n != 1 else "1 thread", n) for n in threads]
    return _across(law, load, features, wanted, lambda scorer: scorer.info.threads, decimals)


def check_device_invariance(
    load: Callable[[str], Scorer],
    features: FeatureBatch,
    devices: Sequence[str] = ("cpu", "cuda:0"),
    *,
    decimals: int = 10,
) -> Invariance:
    """Check that the device changes no score.

    Args:
        load: gives the backend on a device; a `ConfigError` says that there is none.
        features: N >= 1 real rows.
        devices: the devices to compare, the first as the reference.
        decimals: that must agree.

    Raises:
        ScorerViolation: naming the device and the first row that differs.
        LawNotRunError: a device is not to be had here, or the backend says it is on another.
    """
    law = ScorerLaw.DEVICE_INVARIANT
    wanted = [(f"device {d}", d) for d in devices]
    return _across(law, load, features, wanted, lambda scorer: scorer.info.device, decimals)


def _across(
    law: ScorerLaw,
    load: Callable[..., Scorer],
    features: FeatureBatch,
    wanted: Sequence[tuple[str, int | str]],
    used: Callable[[Scorer], int | str],
    decimals: int,
) -> Invariance:
    different = len(dict(wanted))
    if different < 2 or not features.rows:
        raise LawNotRunError(
            f"{different} different settings and {features.rows} rows compare nothing"
        )
    rows = np.arange(min(features.rows, MOST_ROWS))
    batch = take_rows(features, rows)
    watch: Watch | None = None
    for situation, setting in wanted:
        scorer = _loaded(law, load, setting, situation)
        if used(scorer) != setting:
            raise LawNotRunError(
                f"asked for {situation}, but backend {scorer.info.backend} says {used(scorer)!r}; "
                f"nothing would be compared"
            )
        outputs = _score(law, scorer, batch, situation)
        if watch is None:
            watch = Watch(law, outputs, rows, Tolerance(decimals))
        else:
            watch.expect_same(f"with {situation}, not {wanted[0][0]}", outputs)
    assert watch is not None
    return watch.invariance()


def _loaded(
    law: ScorerLaw, load: Callable[..., Scorer], setting: int | str, situation: str
) -> Scorer:
    try:
        return load(setting)
    except ConfigError as e:
        raise LawNotRunError(f"law {law!s}: no backend with {situation}: {e}") from e


def _expect_different_rows(features: FeatureBatch) -> None:
    columns = features.columns().values()
    if not any(len(set(map(repr, c.tolist()))) > 1 for c in columns):
        raise LawNotRunError(
            f"all {features.rows} feature rows are equal; give at least two different ones"
        )


def _in_batches(law: ScorerLaw, scorer: Scorer, features: FeatureBatch, size: int) -> Outputs:
    parts = [
        _score(law, scorer, take_rows(features, slice(i, i + size)), f"in batches of {size}")
        for i in range(0, features.rows, size)
    ]
    for part in parts:
        if part.keys() != parts[0].keys():
            problem = f"in batches of {size}, the names of the outputs change"
            raise ScorerViolation(law, problem, expected=sorted(parts[0]), got=sorted(part))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _score(law: ScorerLaw, scorer: Scorer, features: FeatureBatch, situation: str) -> Outputs:
    try:
        outputs = scorer.score(features)
    except ConfigError:
        raise  # what the caller set up cannot be used: that is no verdict on the backend
    except Exception as e:
        raise ScorerViolation(law, f"{situation}, the backend raised {e!r}") from e
    for name, values in outputs.items():
        if values.shape[:1] != (features.rows,):
            problem = f"{situation}, output {name!r} has another number of rows"
            raise ScorerViolation(law, problem, expected=features.rows, got=values.shape)
    if not outputs:
        raise ScorerViolation(law, f"{situation}, the backend gave no output at all")
    return outputs


def _expect_unchanged(law: ScorerLaw, before: FeatureBatch, after: FeatureBatch) -> None:
    now = after.columns()
    for name, values in before.columns().items():
        changed = [i for i, (a, b) in enumerate(_texts(values, now[name])) if a != b]
        for row in changed[:1]:
            raise ScorerViolation(
                law,
                "scoring changed the features handed in",
                row=row,
                feature=name,
                expected=plain(values[row]),
                got=plain(now[name][row]),
            )


def _texts(before: Column, after: Column) -> Iterator[tuple[str, str]]:
    return zip(map(repr, before.tolist()), map(repr, after.tolist()), strict=True)
