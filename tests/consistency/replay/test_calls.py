"""Calls of TensorFlow Serving's protocol in a log: replayed whole, request by request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson
import pytest

from consistency.errors import ReplayError
from consistency.log.lines.encoding import encode_line
from consistency.log.lines.entry import LoggedRequest
from consistency.log.lines.line import decode_line
from consistency.postprocess import PostProcess
from consistency.replay import ReplayMode, ReplayReport, ReplaySettings, ReplayTarget, replay
from consistency.schema import FeatureSchema
from consistency.scored import Outcome, Payload
from consistency.tensor_calls import CallRefusedError
from tests.fixtures.scored import make_request


@dataclass
class Halver:
    """Answers a JSON list of numbers, or of lists of them, with half of each; refuses texts."""

    shift: float = 0.0
    outputs: tuple[str, ...] = ("y",)
    asked: list[bytes] = field(default_factory=list)

    def answer(self, payload: Payload) -> tuple[int, dict[str, Any]]:
        self.asked.append(payload.body)
        values = orjson.loads(payload.body)
        if values == "refuse":
            raise CallRefusedError("Missing ModelSpec")
        found = np.asarray(values, np.float64) / 2 + self.shift
        if not found.ndim or not len(found):
            found = found[np.newaxis]
        return len(found), dict.fromkeys(self.outputs, found)


def line(number: int, values: Any, **changes: Any) -> LoggedRequest:
    payload = Payload(orjson.dumps(values), "tfs-rest/1", "application/json")
    changes = {"features": None, "scores": None, **changes}
    if values == "refuse":
        changes |= {
            "outcome": Outcome.DATA_ERROR, "message": "Missing ModelSpec", "outputs": None,
            "refused_by": "payload", "rows": 0,
        }  # fmt: skip
    else:
        rows, outputs = Halver().answer(payload)
        changes |= {"outputs": outputs, "rows": rows}
    request = make_request(f"r-{number}", payload=payload, **changes)
    return decode_line(encode_line(request).rstrip(b"\n"))


def replayed(lines: list[LoggedRequest], calls: Any, mode: ReplayMode = ReplayMode.FULL) -> Any:
    target = ReplayTarget(FeatureSchema((), ()), None, None, PostProcess(), calls=calls)
    report: ReplayReport = replay(lines, lambda *_: target, ReplaySettings(mode))
    return report.models["m/1"]


SHAPES: list[Any] = [[1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]], 7.0, [], [[], []], [[[0.1]], [[0.2]]]]


def test_every_call_is_answered_by_itself_whatever_its_shape() -> None:
    calls = Halver()
    found = replayed([line(i, values) for i, values in enumerate(SHAPES)], calls)
    assert len(calls.asked) == len(SHAPES)
    assert found.agrees
    assert found.stages.keys() == {"outputs"}
    assert found.rows == found.stages["outputs"].rows_identical == 1 + 3 + 1 + 1 + 1 + 2 + 2


def test_a_difference_is_found_and_named() -> None:
    found = replayed([line(1, [1.0]), line(2, [2.0, 3.0])], Halver(shift=1e-9))
    assert not found.agrees
    assert found.first_divergence is not None
    assert (found.first_divergence.stage, found.first_divergence.name) == ("outputs", "y")


def test_other_outputs_are_a_difference_and_no_crash() -> None:
    found = replayed([line(1, [1.0])], Halver(outputs=("z",)))
    assert not found.agrees
    assert found.first_divergence is not None
    assert found.first_divergence.offline == "z: 1 rows"


def test_a_refusal_is_reproduced_with_the_same_words() -> None:
    found = replayed([line(1, "refuse"), line(2, [1.0])], Halver())
    assert (found.rejected, found.rejected_reproduced) == (1, 1)
    assert found.agrees


def test_what_is_refused_offline_only_differs_at_the_payload() -> None:
    class Refusing(Halver):
        def answer(self, payload: Payload) -> tuple[int, dict[str, Any]]:
            if payload.body == b"[2.0]":
                raise CallRefusedError("no more")
            return super().answer(payload)

    found = replayed([line(1, [1.0]), line(2, [2.0]), line(3, [3.0])], Refusing())
    assert not found.agrees
    assert found.first_divergence is not None
    assert (found.first_divergence.request_id, found.first_divergence.stage) == ("r-2", "payload")
    assert found.stages["outputs"].rows_agreeing == 2


@pytest.mark.parametrize("mode", [ReplayMode.FULL, ReplayMode.FEATURES])
def test_there_are_no_features_to_start_from(mode: ReplayMode) -> None:
    found = replayed([line(1, [1.0])], Halver(), mode)
    assert found.agrees
    assert found.started_at == {"payload": 1}


def test_the_pipeline_alone_cannot_be_replayed() -> None:
    found = replayed([line(1, [1.0])], Halver(), ReplayMode.PIPELINE)
    assert found.not_replayable == {"no feature stage": 1}
    assert not found.agrees
    beside = replayed([line(1, [1.0]), line(2, "refuse")], Halver(), ReplayMode.PIPELINE)
    assert (beside.rejected_reproduced, beside.rows) == (1, 0)
    assert not beside.agrees, "a reproduced refusal stands for no score"


def test_a_target_that_answers_no_calls_is_named() -> None:
    with pytest.raises(ReplayError, match="this model version answers none"):
        replayed([line(1, [1.0])], None)
