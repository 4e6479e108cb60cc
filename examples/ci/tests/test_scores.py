"""A test written by hand: the scores in the log are those of LightGBM itself, without samescore."""

from __future__ import annotations

from pathlib import Path

import lightgbm

from consistency.log import RequestLogReader
from samescore import assert_same_scores

HERE = Path(__file__).parent.parent


def test_the_log_holds_the_scores_of_the_bare_model() -> None:
    """LightGBM on the logged features, against the scores that were answered."""
    booster = lightgbm.Booster(model_file=HERE / "models/rides/1/model.txt")
    requests = list(RequestLogReader(HERE / "requests"))
    online = [score for request in requests for score in request.scores]
    offline = [
        score
        for request in requests
        for score in booster.predict(request.features.matrix(), num_threads=1)
    ]
    assert_same_scores(online, offline)
