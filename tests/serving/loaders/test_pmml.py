from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consistency.errors import BackendError, BundleError, ConfigError
from consistency.features import FeatureBatch
from consistency.protocols import Scorer
from consistency.schema import FeatureSchema, FeatureType
from serving.loaders import load_scorer
from serving.loaders.pmml import PmmlScorer
from tests.fixtures.pmml_documents import linear, tree

pytestmark = pytest.mark.slow  # starts Java

BatchOf = Callable[[NDArray], FeatureBatch]
NAMES = ("f0", "f1", "f2", "f3")
TEN_DECIMALS = 5e-11

CATEGORIES = """<?xml version="1.0" encoding="UTF-8"?>
<PMML version="4.4" xmlns="http://www.dmg.org/PMML-4_4"><Header/>
<DataDictionary>
<DataField name="amount" optype="continuous" dataType="double"/>
<DataField name="city" optype="categorical" dataType="string"/>
<DataField name="y" optype="categorical" dataType="string"><Value value="no"/><Value value="yes"/>
</DataField></DataDictionary>
<RegressionModel functionName="classification" normalizationMethod="logit">
<MiningSchema><MiningField name="amount" missingValueReplacement="0.5"/><MiningField name="city"/>
<MiningField name="y" usageType="target"/></MiningSchema>
<RegressionTable intercept="0.1" targetCategory="yes">
<NumericPredictor name="amount" coefficient="0.3"/>
<CategoricalPredictor name="city" value="Köln" coefficient="0.7"/></RegressionTable>
<RegressionTable intercept="0" targetCategory="no"/></RegressionModel></PMML>
"""


@pytest.fixture(scope="module")
def rows() -> NDArray:
    return np.random.default_rng(4).normal(size=(200, len(NAMES)))


def model(folder: Path, document: str) -> Path:
    (folder / "model.pmml").write_text(document, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def logistic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    weights = [0.1, -1 / 3, 2.5, 1e-3]
    return model(tmp_path_factory.mktemp("pmml"), linear(NAMES, weights, 0.7, link="logit"))


@pytest.fixture
def scorer(logistic: Path) -> Scorer:
    return load_scorer("pmml", logistic)


def sigmoid(rows: NDArray) -> NDArray:
    return 1 / (1 + np.exp(-(rows @ [0.1, -1 / 3, 2.5, 1e-3] + 0.7)))


def test_a_linear_model_agrees_with_the_original(
    rows: NDArray, batch_of: BatchOf, tmp_path: Path
) -> None:
    from sklearn.linear_model import LinearRegression

    original = LinearRegression().fit(rows, rows[:, 0] * 3 + rows[:, 1] ** 2)
    document = linear(NAMES, original.coef_, original.intercept_)
    got = load_scorer("pmml", model(tmp_path, document)).score(batch_of(rows))
    np.testing.assert_allclose(
        got["predicted_y"], original.predict(rows), rtol=0, atol=TEN_DECIMALS
    )


def test_a_tree_agrees_with_the_original(rows: NDArray, batch_of: BatchOf, tmp_path: Path) -> None:
    from sklearn.tree import DecisionTreeRegressor

    rounded = rows.astype(np.float32).astype(np.float64)  # scikit-learn's trees see float32
    original = DecisionTreeRegressor(max_depth=6).fit(rounded, rows[:, 0] * 3)
    got = load_scorer("pmml", model(tmp_path, tree(NAMES, original))).score(batch_of(rounded))
    np.testing.assert_allclose(
        got["predicted_y"], original.predict(rounded), rtol=0, atol=TEN_DECIMALS
    )


def test_numbers_keep_every_digit_on_their_way(batch_of: BatchOf, tmp_path: Path) -> None:
    values = np.array([5e-324, 1 / 3, 0.1 + 0.2, 1e308, -1.7976931348623157e308, 2.0**53 + 2])
    document = linear(("f0",), [1.0], 0.0)
    got = load_scorer("pmml", model(tmp_path, document)).score(batch_of(values[:, None]))
    np.testing.assert_array_equal(got["predicted_y"], values)


def test_texts_and_missing_values_reach_the_model(tmp_path: Path) -> None:
    scorer = load_scorer("pmml", model(tmp_path, CATEGORIES))
    schema = FeatureSchema(("amount", "city"), (FeatureType.FLOAT64, FeatureType.STRING))
    amounts = np.asfortranarray([[1.0], [np.nan], [2.0]])
    cities = np.array(["Köln", "Köln", "Ulm"], object)
    outputs = scorer.score(FeatureBatch(schema, 3, amounts, {"city": cities}))
    reached = np.array([0.1 + 0.3 + 0.7, 0.1 + 0.15 + 0.7, 0.1 + 0.6])
    expected = 1 / (1 + np.exp(-reached))
    np.testing.assert_allclose(outputs["probability_yes"], expected, rtol=0, atol=TEN_DECIMALS)
    assert outputs["predicted_y"].tolist() == ["yes", "yes", "yes"]


def test_a_missing_value_that_the_model_has_no_answer_for_gives_nan(
    scorer: Scorer, batch_of: BatchOf
) -> None:
    gap = np.array([[1.0, np.nan, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    got = scorer.score(batch_of(gap))["predicted_y"]
    assert np.isnan(got[0])
    assert got[1] == pytest.approx(1 / (1 + np.exp(-0.7)), abs=1e-15)


def test_an_infinite_feature_and_a_lacking_one_are_refused_by_name(
    scorer: Scorer, batch_of: BatchOf
) -> None:
    with pytest.raises(BackendError, match="feature 'f2' is infinite"):
        scorer.score(batch_of(np.array([[1.0, 1.0, np.inf, 1.0]])))
    with pytest.raises(BackendError, match="field 'f3' is no feature; the features are f0"):
        scorer.score(batch_of(np.zeros((1, 3))))


def test_entities_are_refused(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0.5")
    document = linear(NAMES, [1.0] * 4, 0.0).replace(
        "<PMML", f'<!DOCTYPE PMML [<!ENTITY x SYSTEM "file://{secret}">]><PMML', 1
    )
    with pytest.raises(ConfigError, match="declares a document type"):
        load_scorer("pmml", model(tmp_path, document))


def test_a_missing_java_is_told(
    logistic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    # another number of threads: a machine that does not run yet
    with pytest.raises(ConfigError, match=r"no Java on PATH.*install a Java runtime"):
        load_scorer("pmml", logistic, threads=3)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"no Java in JAVA_HOME="):
        load_scorer("pmml", logistic, threads=3)


def machine(scorer: Scorer) -> Any:
    assert isinstance(scorer, PmmlScorer)
    scorer._machine.classes()
    return scorer._machine._gateway


def java_processes(parent: int) -> list[int]:
    def parent_of(stat: str) -> int:
        return int(stat.rpartition(")")[2].split()[1])

    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue  # it has ended
        if parent_of(text) == parent and "(java)" in text:
            found.append(int(path.parent.name))
    return found


def test_the_machine_listens_on_the_loopback_and_wants_a_token(scorer: Scorer) -> None:
    parameters = machine(scorer).gateway_parameters
    assert parameters.address == "127.0.0.1"
    listening = {
        line.split()[1]
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for line in Path(table).read_text().splitlines()[1:]
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{parameters.port:04X}")
    }
    assert listening
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert {address.partition(":")[0] for address in listening} <= loopback
    with socket.create_connection(("127.0.0.1", parameters.port), timeout=10) as stranger:
        stranger.sendall(b"c\nt\ncurrentTimeMillis\ne\n")
        answer = stranger.makefile("rb").readline()
    assert b"Auth" in answer or not answer, answer


def test_a_machine_that_died_is_started_again(
    scorer: Scorer, rows: NDArray, batch_of: BatchOf
) -> None:
    before = scorer.score(batch_of(rows))["predicted_y"]
    machine(scorer).shutdown()
    with pytest.raises(BackendError, match="the Java machine does not answer"):
        scorer.score(batch_of(rows))
    np.testing.assert_array_equal(scorer.score(batch_of(rows))["predicted_y"], before)


PROGRAM = """
import os, sys, time
from pathlib import Path
import numpy as np
from consistency.features import FeatureBatch
from consistency.schema import FeatureSchema
from serving.loaders import load_scorer

scorer = load_scorer("pmml", Path(sys.argv[1]))
schema = FeatureSchema.float64(("f0", "f1", "f2", "f3"))
batch = FeatureBatch(schema, 1, np.asfortranarray(np.ones((1, 4))))
score = scorer.score(batch)["predicted_y"][0]
child = os.fork() if sys.argv[2] == "fork" else -1
if child == 0:
    os._exit(0 if scorer.score(batch)["predicted_y"][0] == score else 7)
if child > 0:
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
          scorer.score(batch)["predicted_y"][0] == score, flush=True)
else:
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def run(logistic: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def start(how: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PROGRAM, str(logistic), how]
        running.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_a_forked_child_gets_a_machine_of_its_own(
    run: Callable[[str], subprocess.Popen[str]],
) -> None:
    out, _ = run("fork").communicate(timeout=120)
    assert out.split() == ["0", "True"]


def test_the_machine_survives_ctrl_c_and_ends_with_its_owner(
    run: Callable[[str], subprocess.Popen[str]],
) -> None:
    process = run("wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    (java,) = java_processes(process.pid)
    assert os.getpgid(java) != os.getpgid(process.pid), "Ctrl-C goes to a process group"
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    deadline = time.monotonic() + 60
    while Path(f"/proc/{java}").exists() and "Z (" not in _state(java):
        assert time.monotonic() < deadline, "the Java machine outlives its owner"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/status").read_text().partition("State:\t")[2]
    except OSError:
        return "Z ("


def test_a_file_that_is_no_pmml_says_so(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="PMML4S cannot read"):
        load_scorer("pmml", model(tmp_path, "<html/>"))
