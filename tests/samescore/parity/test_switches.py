from __future__ import annotations

from collections.abc import Mapping

import pytest

from consistency.parity import CellState, Factor, Isa, OneDnn, Surroundings
from samescore.parity.facts import ATEN, MKL, ONEDNN, ONEDNN_CALLS
from samescore.parity.probe import Probes
from samescore.parity.spec import CellAnswer
from samescore.parity.switches import TORCH_ONEDNN, Switches, effects_of, settings_for

TORCH = Switches.of("torch", calibrated=False)
TENSORFLOW = Switches.of("tensorflow", calibrated=False)
BASELINE = Surroundings()
AVX2 = Surroundings(isa=Isa.AVX2)
OFF = Surroundings(onednn=OneDnn.OFF)
FACTS = {ATEN: "AVX512", ONEDNN: "none", ONEDNN_CALLS: "none", MKL: "any"}


@pytest.fixture(autouse=True)
def _every_level(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let these tests mean the same on an older CPU."""
    monkeypatch.setattr("samescore.parity.probe.cannot_have", lambda _: "")


def probes(switches: Switches, answers: Mapping[Surroundings, CellAnswer]) -> Probes:
    return Probes(switches, BASELINE, answers.__getitem__)


def answer(**changed: str) -> CellAnswer:
    names = {"aten": ATEN, "onednn": ONEDNN, "calls": ONEDNN_CALLS}
    return CellAnswer(facts=FACTS | {names[n]: value for n, value in changed.items()})


def test_each_library_gets_its_own_switches() -> None:
    around = Surroundings(isa=Isa.SSE4, onednn=OneDnn.OFF)
    assert settings_for(TENSORFLOW.all, around) == {
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
    }
    assert settings_for(TORCH.all, around) == {
        TORCH_ONEDNN: "False",
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    }
    assert settings_for(Switches.of("onnxruntime", calibrated=False).all, around) == {}


def test_a_calibrated_score_depends_on_numpy_too() -> None:
    names = [s.name for s in Switches.of("xgboost", calibrated=True).all]
    assert names == ["GLIBC_TUNABLES", "NPY_DISABLE_CPU_FEATURES"]


def test_one_switch_that_takes_effect_is_enough() -> None:
    verdict = probes(TORCH, {BASELINE: answer(), AVX2: answer(aten="AVX2")}).verdict(AVX2)
    assert verdict.state is CellState.MEASURED
    assert [e.switch for e in verdict.effects if e.took_effect] == ["ATEN_CPU_CAPABILITY=avx2"]
    assert len(verdict.effects) == 3


def test_a_switch_that_changes_nothing_is_no_agreement() -> None:
    verdict = probes(TENSORFLOW, {BASELINE: answer(), OFF: answer()}).verdict(OFF)
    assert verdict.state is CellState.NOT_APPLICABLE
    assert "no effect on tensorflow here (TF_ENABLE_ONEDNN_OPTS=0: none" in verdict.reason


def test_a_library_without_a_switch_is_not_asked() -> None:
    verdict = probes(Switches.of("onnxruntime", calibrated=False), {}).verdict(AVX2)
    assert verdict.state is CellState.NOT_APPLICABLE
    assert verdict.reason == "onnxruntime has no switch for it"


def test_a_probe_that_fails_is_told() -> None:
    failed = CellAnswer(error="killed by SIGILL: it said nothing")
    verdict = probes(TENSORFLOW, {BASELINE: answer(), OFF: failed}).verdict(OFF)
    assert verdict.state is CellState.FAILED
    assert "SIGILL" in verdict.reason


def test_threads_need_no_probe_and_a_gpu_heeds_no_switch() -> None:
    asked = probes(TORCH, {})
    assert asked.verdict(Surroundings(threads=2)).state is CellState.MEASURED
    assert asked.verdict(Surroundings(device="cuda")).state is CellState.MEASURED
    both = asked.verdict(Surroundings(device="cuda", isa=Isa.AVX2))
    assert both.state is CellState.NOT_APPLICABLE


def test_of_two_changes_each_must_take_effect() -> None:
    both = Surroundings(onednn=OneDnn.OFF, isa=Isa.AVX2)
    # with oneDNN off its instructions no longer matter
    answers = {AVX2: answer(calls="some"), OFF: answer(), both: answer()}
    verdict = probes(TENSORFLOW, answers).verdict(both)
    assert verdict.state is CellState.NOT_APPLICABLE
    assert "ONEDNN_MAX_CPU_ISA" in verdict.reason


def test_what_a_switch_did_is_the_librarys_own_account() -> None:
    (effect,) = effects_of(TENSORFLOW.all, Factor.ISA, AVX2, {ONEDNN: "new"}, {ONEDNN: "old"})
    assert (effect.switch, effect.before, effect.after) == ("ONEDNN_MAX_CPU_ISA=AVX2", "new", "old")
