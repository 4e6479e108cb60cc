"""The DAG example, in a real Airflow: it is loaded, run, and reads the exit code as it is meant."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fixtures.cli import samescore
from tests.fixtures.days import days_into_log, dearer
from tests.fixtures.tiny import Tiny

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DAG = ROOT / "deploy" / "drift" / "airflow_dag.py"


@dataclass(frozen=True)
class Airflow:
    """An Airflow that is installed, with its database and one DAG."""

    programs: Path
    environment: dict[str, str]

    def run(self, *words: str) -> str:
        """Run a command of it, and return what it said."""
        done = subprocess.run(
            [self.programs / "airflow", *words],
            env=self.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == 0, said[-4_000:]
        return said

    def python(self, code: str) -> str:
        """Run some code in its environment, and return what it printed."""
        done = subprocess.run(
            [self.programs / "python", "-c", code],
            env=self.environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def programs() -> Path:
    folder = ROOT / "build" / "airflow"
    done = subprocess.run(
        [ROOT / "tests" / "airflow.sh", folder],
        env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(f"tests/airflow.sh could not install Airflow: {done.stderr[-2_000:]}")
    return folder / "env" / "bin"


@pytest.fixture(scope="module")
def log(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day as in training, and a day of higher amounts."""
    folder = tmp_path_factory.mktemp("airflow_log") / "requests"
    days = {"2026-01-01": tiny.records, "2026-01-02": dearer(tiny.records)}
    return days_into_log(tiny, folder, days)


@pytest.fixture(scope="module")
def airflow(
    programs: Path, tiny: Tiny, log: Path, tmp_path_factory: pytest.TempPathFactory
) -> Airflow:
    """The example with the paths of this machine, as its user would change them."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    text = DAG.read_text()
    for name, path in {
        "SAMESCORE": Path(sys.executable).with_name("samescore"),
        "LOG": log,
        "BUNDLE": tiny.bundle,
        "OUT": home / "drift",
        "TEXTFILE": home / "drift.prom",
    }.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"{name} = "))
        text = text.replace(line, f'{name} = "{path}"')
    (home / "dags" / DAG.name).write_text(text)
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }
    made = Airflow(programs, environment)
    made.run("db", "migrate")
    return made


def test_drift_is_a_result_and_no_failure(airflow: Airflow) -> None:
    """The first night has no drift; the second has, and the run is a success all the same."""
    home = Path(airflow.environment["AIRFLOW_HOME"])
    judged = []
    for night, verdict, window in (
        ("2026-01-02T00:15:00+00:00", "no_drift", "no drift in 2026-01-01"),
        ("2026-01-03T00:15:00+00:00", "drift", "in 2026-01-02: score"),
    ):
        said = airflow.run("dags", "test", "samescore_drift", night)
        assert window in said
        assert "state=success" in said
        assert ("drift: see" in said) is (verdict == "drift")
        assert "UP_FOR_RETRY" not in said.upper()
        judged.append(verdict)
        (job,) = samescore("drift", "show", home / "drift", "--json").json
        assert [w["verdict"] for w in job["windows"]] == judged
        assert "samescore_drift_detected{" in (home / "drift.prom").read_text()


def test_unusable_input_is_a_failure_that_is_retried(airflow: Airflow, log: Path) -> None:
    """The task's own command, with the log away: its code reaches Airflow, which tries again."""
    home = airflow.environment["AIRFLOW_HOME"]
    read = (
        f"import sys; sys.path.insert(0, '{home}/dags'); from airflow_dag import dag; "
        "task = dag.get_task('judge_windows'); "
    )
    assert airflow.python(read + "print(task.retries, len(dag.tasks), dag.catchup)") == "3 3 False"
    command = airflow.python(read + "print(repr(task.bash_command))")
    words: str = eval(command)  # what repr has just written
    words = words.replace("{{ data_interval_end.isoformat() }}", "2026-01-03T00:15:00+00:00")
    words = words.replace(
        f"{home}/drift", f"{home}/by_hand"
    )  # Airflow's own nights stay as they are
    away = words.replace(str(log), str(log.with_name("away")))
    assert subprocess.run(["bash", "-c", away], capture_output=True, check=False).returncode == 2
    there = subprocess.run(["bash", "-c", words], capture_output=True, check=False)
    assert (there.returncode, there.stdout.splitlines()[-1]) == (0, b"1")
