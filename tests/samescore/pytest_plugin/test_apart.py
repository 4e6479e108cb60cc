"""Golden rows scored in another process."""

from __future__ import annotations

import numpy as np
import pytest

from consistency.bundle import open_bundle
from consistency.errors import BackendError, ConfigError
from consistency.features import take_rows
from samescore.pytest_plugin.apart import ApartScorer
from samescore.pytest_plugin.checks.subjects import load_model
from serving.loaders.trust.grants import NO_TRUST
from tests.fixtures.tiny import Tiny

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


def test_what_the_other_process_refuses_is_told_here(tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match="gpu"):
        ApartScorer(tiny.bundle, 1, "gpu", NO_TRUST)
