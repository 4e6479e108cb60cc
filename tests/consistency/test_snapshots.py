"""Snapshots of lookup tables: the same rows again, or an error; never other rows."""

from __future__ import annotations

import math
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from consistency.errors import SnapshotError
from consistency.features import FeatureStatus
from consistency.snapshots import LookupTable, SnapshotStore

Array = NDArray[Any]


def objects(*values: Any) -> Array:
    out = np.empty(len(values), object)
    out[:] = values
    return out


TABLE: dict[str, Array] = {
    "city": objects("Oslo", "Oslo", "Bern", None),
    "hour": np.array([1, 2, 1, 2**60]),
    "temp": np.array([3.5, math.nan, -0.0, math.inf]),
    "sky": objects("rain", None, "", "数据"),
}
KEYS = ("city", "hour")


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "snapshots")


# ---- keeping ------------------------------------------------------------------------------------


def test_a_table_comes_back_as_it_was(store: SnapshotStore) -> None:
    table = store.get(store.put("weather", TABLE), KEYS)
    for name, values in TABLE.items():
        assert table.columns[name].dtype == values.dtype
    assert table.columns["temp"].tobytes() == TABLE["temp"].tobytes()
    assert table.columns["hour"].tobytes() == TABLE["hour"].tobytes()
    assert table.columns["sky"].tolist() == TABLE["sky"].tolist()


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(), st.integers(-(2**63), 2**63 - 1), st.text() | st.none())))
def test_any_table_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, int, str | None]]
) -> None:
    rows = [(f, i, s) for f, i, s in rows if s is None or s.isprintable()]
    columns = {
        "f": np.array([r[0] for r in rows], np.float64),
        "i": np.array([r[1] for r in rows], np.int64),
        "s": objects(*(r[2] for r in rows)),
    }
    store = SnapshotStore(tmp_path_factory.mktemp("any"))
    again = store.get(store.put("t", columns), ("i",)).columns
    assert again["f"].tobytes() == columns["f"].tobytes()
    assert again["i"].tobytes() == columns["i"].tobytes()
    assert again["s"].tolist() == columns["s"].tolist()


@pytest.mark.parametrize(
    ("given_values", "kept"),
    [
        (["b", "a"], objects("b", "a")),
        (np.array(["b", "a"]), objects("b", "a")),
        (np.array([1, 2], np.int16), np.array([1, 2])),
        (np.array([1, 2], np.uint64), np.array([1, 2])),
        (np.array([0.1, 2], np.float32), np.array([float(np.float32(0.1)), 2.0])),
        (np.array([1.5, 2], ">f8"), np.array([1.5, 2.0])),
        (np.array([True, False]), np.array([True, False])),
        (objects(None, None), objects(None, None)),
        (np.array([], np.float64), np.array([], np.float64)),
    ],
    ids=repr,
)
def test_what_is_kept_of_other_forms(store: SnapshotStore, given_values: Any, kept: Array) -> None:
    again = store.get(store.put("t", {"k": given_values}), ("k",)).columns["k"]
    assert again.dtype == kept.dtype
    assert again.tolist() == kept.tolist()


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (objects(1, None), "column 'v' .* cannot be kept exactly"),
        (objects("a", math.nan), "column 'v' .* cannot be kept exactly"),
        (np.array(["2026-01-01"], "datetime64[us]"), "cannot be kept exactly"),
        (np.array([2**63, 1], np.uint64), "cannot be kept exactly"),
        (np.zeros(2, np.longdouble), "cannot be kept exactly"),
        (np.zeros(2, np.complex128), "cannot be kept exactly"),
        (np.zeros((2, 2)), "the table cannot be kept"),
        (np.zeros(3), "the table cannot be kept"),
        (objects("\ud800", "a"), "the table cannot be kept"),
    ],
    ids=repr,
)
def test_what_cannot_be_kept_exactly_is_refused_at_once(
    store: SnapshotStore, column: Array, said: str
) -> None:
    with pytest.raises(SnapshotError, match=said):
        store.put("t", {"k": np.array([1, 2]), "v": column})
    assert store.current("t") is None


def test_the_id_is_that_of_the_content(store: SnapshotStore, tmp_path: Path) -> None:
    first = store.put("weather", TABLE)
    assert store.put("other_name", TABLE) == first
    assert SnapshotStore(tmp_path / "elsewhere").put("weather", TABLE) == first
    changes: list[dict[str, Any]] = [
        {"temp": np.array([3.5, math.nan, 0.0, math.inf])},
        {"temp": np.array([3.5000000000000004, math.nan, -0.0, math.inf])},
        {"sky": objects("rain", "", "", "数据")},
        {"hour": TABLE["hour"].astype(np.float64)},
        {"more": TABLE["temp"]},
    ]
    ids = {store.put("weather", {**TABLE, **change}) for change in changes}
    assert len(ids | {first}) == len(changes) + 1


def test_the_id_is_the_same_in_another_process(store: SnapshotStore, tmp_path: Path) -> None:
    """Arrow pads its buffers: what lies in the padding must not show."""
    columns = {"k": ["a", "b", "c"], "v": [1.5, 2.5, 3.5]}
    code = (
        "import sys; from pathlib import Path; from consistency.snapshots import SnapshotStore;"
        f"print(SnapshotStore(Path(sys.argv[1])).put('t', {columns!r}))"
    )
    run = [sys.executable, "-c", code, str(tmp_path / "there")]
    root = Path(__file__).parents[2]
    there = subprocess.run(run, capture_output=True, text=True, check=True, cwd=root)
    assert there.stdout.strip() == store.put("t", {k: np.array(v) for k, v in columns.items()})


def test_the_newest_snapshot_of_a_name_is_current_and_the_older_ones_stay(
    store: SnapshotStore,
) -> None:
    assert store.current("weather") is None
    first = store.put("weather", TABLE)
    second = store.put("weather", {**TABLE, "temp": np.zeros(4)})
    assert store.current("weather") == second != first
    assert store.get(first, KEYS).columns["temp"][0] == 3.5
    assert store.put("weather", TABLE) == store.current("weather") == first


@pytest.mark.parametrize("name", ["", "Weather", "../up", "a/b", "1st", "a.b"])
def test_a_bad_name_is_refused(store: SnapshotStore, name: str) -> None:
    with pytest.raises(SnapshotError, match="is no lookup name"):
        store.put(name, TABLE)
    with pytest.raises(SnapshotError, match="is no lookup name"):
        store.current(name)


def test_another_user_may_read_what_was_kept(store: SnapshotStore) -> None:
    before = os.umask(0o022)
    try:
        path = store.root / f"{store.put('weather', TABLE)}.arrow"
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert not [p for p in store.root.iterdir() if p.name.startswith(".")]


# ---- damage -------------------------------------------------------------------------------------


def test_a_missing_snapshot_says_where_to_get_it(store: SnapshotStore) -> None:
    with pytest.raises(SnapshotError, match="copy it from the machine that served"):
        store.get("0" * 64, ("k",))


@pytest.mark.parametrize("snapshot", ["", "../weather", "0" * 63, "G" * 64])
def test_what_is_no_id_is_refused(store: SnapshotStore, snapshot: str) -> None:
    with pytest.raises(SnapshotError, match="is no snapshot id"):
        store.get(snapshot, ("k",))


def test_every_flipped_byte_and_every_torn_tail_is_found(store: SnapshotStore) -> None:
    """Reading some of these with Arrow kills the process: the digest comes first."""
    snapshot = store.put("weather", TABLE)
    path = store.root / f"{snapshot}.arrow"
    whole = path.read_bytes()
    flipped = [whole[:i] + bytes([whole[i] ^ 0xFF]) + whole[i + 1 :] for i in range(len(whole))]
    torn = [whole[:i] for i in range(0, len(whole), 7)]
    for damaged in [*flipped, *torn, whole + b"\x00"]:
        path.write_bytes(damaged)
        with pytest.raises(SnapshotError, match="is damaged"):
            store.get(snapshot, KEYS)
    path.write_bytes(whole)
    assert store.get(snapshot, KEYS).id == snapshot


# ---- looking up ---------------------------------------------------------------------------------


def table(**columns: Any) -> LookupTable:
    return LookupTable("t" * 64, {n: np.asarray(v) for n, v in columns.items()}, ("k",))


def test_rows_are_found_by_one_key_or_several(store: SnapshotStore) -> None:
    found = store.get(store.put("weather", TABLE), KEYS)
    rows = found.rows(objects("Bern", "Oslo", "Oslo", None), np.array([1, 2, 3, 2**60]))
    assert rows.tolist() == [2, 1, -1, 3]
    assert table(k=[5, 7]).rows(np.array([7, 6])).tolist() == [1, -1]


def test_what_has_no_row_is_missing_and_marked() -> None:
    numbers = table(k=[5, 7], v=[1.5, math.nan], n=[1, 2], s=objects("a", None))
    rows = numbers.rows(np.array([7, 6, 5]))
    taken = numbers.take("v", rows)
    assert taken.status is not None
    assert taken.status.tolist() == [0, FeatureStatus.NO_MATCH, 0]
    assert np.isnan(taken.values).tolist() == [True, True, False]
    assert numbers.take("n", rows).values.tolist()[0] == 2.0
    assert numbers.take("s", rows).values.tolist() == [None, None, "a"]


def test_a_value_that_is_missing_in_the_table_is_not_a_missing_row() -> None:
    found = table(k=[5], v=[math.nan])
    assert found.take("v", found.rows(np.array([5]))).status is None


def test_large_integers_keep_their_digits() -> None:
    found = table(k=[1, 2], v=[2**53 + 1, -(2**63)])
    taken = found.take("v", found.rows(np.array([1, 2, 3])))
    assert taken.values.tolist() == [2**53 + 1, -(2**63), None]


def test_a_matrix_has_a_row_for_what_is_missing() -> None:
    found = table(k=[5, 7], a=[1.5, 2.5], b=[1, 2])
    matrix = found.matrix(("b", "a"))
    assert matrix.shape == (3, 2)
    chosen = matrix[found.rows(np.array([7, 6]))]
    assert chosen[0].tolist() == [2.0, 2.5]
    assert np.isnan(chosen[1]).all()


@pytest.mark.parametrize("keys", [[5, 5, 7], [1, 2, 1]])
def test_a_key_that_is_not_unique_is_refused(keys: list[int]) -> None:
    with pytest.raises(SnapshotError, match="is not unique; 1 of 3 rows repeat one"):
        table(k=keys).rows(np.array([5]))


def test_a_key_column_that_the_table_lacks_is_named() -> None:
    with pytest.raises(SnapshotError, match=r"no key column 'k'; it has \['v'\]"):
        table(v=[1])


def test_too_few_keys_are_an_error_and_not_a_miss() -> None:
    two = LookupTable("t" * 64, {"a": np.array([1]), "b": np.array([2])}, ("a", "b"))
    with pytest.raises(SnapshotError, match="1 arrays of keys"):
        two.rows(np.array([1]))
