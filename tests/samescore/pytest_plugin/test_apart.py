"""Golden rows scored in another process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from consistency.bundle import open_bundle
from consistency.errors import BackendError, ConfigError
from consistency.features import take_rows
from consistency.laws.scorer import MOST_ROWS
from samescore.pytest_plugin.apart import ApartScorer
from samescore.pytest_plugin.checks.scorer import check_thread_invariant
from samescore.pytest_plugin.checks.subjects import load_model
from samescore.pytest_plugin.configuring.configuration import settings_from
from samescore.pytest_plugin.telling.findings import Verdict
from serving.loaders.trust.grants import NO_TRUST
from tests.fixtures.tiny import PACKAGE, Tiny

pytestmark = pytest.mark.slow


def test_another_process_gives_its_outputs_bit_for_bit(tiny: Tiny) -> None:
    bundle = open_bundle(tiny.bundle)
    features = bundle.golden().features
    apart = ApartScorer(tiny.bundle, 2, "cpu", NO_TRUST)
    assert apart.info.threads == 2
    here = load_model(bundle, 1, "cpu", NO_TRUST).score(features)
    there = apart.score(features)
    assert there.keys() == here.keys()
    for name, values in here.items():
        assert there[name].dtype == values.dtype
        np.testing.assert_array_equal(there[name], values, strict=True)


def test_it_scores_no_other_rows(tiny: Tiny) -> None:
    features = open_bundle(tiny.bundle).golden().features
    with pytest.raises(BackendError, match="golden rows"):
        ApartScorer(tiny.bundle, 1, "cpu", NO_TRUST).score(take_rows(features, slice(0, 3)))


def test_of_very_many_golden_rows_the_law_and_the_process_take_the_same(
    tiny: Tiny, tmp_path: Path
) -> None:
    golden = [tiny.records[i % len(tiny.records)] for i in range(MOST_ROWS + 3)]
    bundle = tiny.build(tmp_path / "models", golden=golden)
    table = {"trusted": [PACKAGE], "bundles": {"tiny": {"path": str(bundle)}}}
    settings = settings_from(tmp_path / "samescore.toml", table)
    found = check_thread_invariant(settings, settings.bundles[0])
    assert found.verdict is Verdict.PASSED, found.summary
    assert found.properties["rows"] == MOST_ROWS


def test_what_the_other_process_refuses_is_told_here(tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match="gpu"):
        ApartScorer(tiny.bundle, 1, "gpu", NO_TRUST)
