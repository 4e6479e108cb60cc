"""The CI example: green as it stands, and red with a helpful message when one line is changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from tests.fixtures.server import serving

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "examples" / "ci"
FEATURES = "ride_features/features.py"
LOG_FARE = "np.log1p(np.maximum(fare, 0.0))"
GATE = "samescore.toml::golden::gate[rides]"
REPLAY = "samescore.toml::replay::log[last_night]"


def run(folder: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in the user's repository, as on a machine that is no CI."""
    held = {
        k: v for k, v in os.environ.items() if k not in ("GITHUB_ACTIONS", "CI", "PYTEST_ADDOPTS")
    }
    held |= {"OMP_NUM_THREADS": "1", "COLUMNS": "200", **environment}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(
        command, cwd=folder, env=held, capture_output=True, text=True, check=False
    )


def run_pytest(folder: Path, *words: object, **environment: str) -> tuple[int, str]:
    ended = run(folder, "-m", "pytest", "-p", "no:cacheprovider", *words, **environment)
    return ended.returncode, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repository with its bundle, and a log that the real server wrote."""
    folder = tmp_path_factory.mktemp("rides") / "repository"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    trained = run(folder, "train.py", "--out", "models")
    assert trained.returncode == 0, trained.stderr
    arguments = (folder / "models", "--pipeline", "ride_features", "--log", folder / "requests")
    environment = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
    with serving(*arguments, errors=folder / "errors.txt", environment=environment) as server:
        sent = run(folder, "send.py", "--url", f"http://127.0.0.1:{server.port}")
        assert sent.stdout.strip() == "100 requests", sent.stderr
        assert server.terminate() == 0
    return folder


@pytest.fixture
def repository(ready: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return shutil.copytree(ready, tmp_path / "repository")


def change(repository: Path, old: str, new: str) -> int:
    """Change one line of the pipeline and return the line of the function that it is in."""
    path = repository / FEATURES
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    above = text[: text.index(old)]
    return above[: above.rindex("@flow.")].count("\n") + 1


def section(said: str, name: str) -> str:
    """Return what one red item said."""
    _, _, rest = said.partition(f"_ {name} _")
    return re.split(r"\n(?:_{3,}|={3,}|-{3,})", rest.lstrip("_"))[0]


def test_the_plugin_is_green_on_the_example(ready: Path) -> None:
    code, said = run_pytest(ready)
    assert code == 0, said
    assert "31 passed, 1 skipped" in said
    assert "NOT CHECKED samescore.toml::laws::locale_independent[rides]" in said


def test_one_changed_line_is_red_and_says_what_it_did(repository: Path) -> None:
    line = change(repository, LOG_FARE, LOG_FARE.replace("log1p", "log"))
    code, said = run_pytest(repository, "--junitxml", "report.xml", GITHUB_ACTIONS="true")
    assert code == 1
    assert re.findall(r"^FAILED (\S+)", said, re.MULTILINE) == [
        "samescore.toml::environment::pipeline[rides]", GATE, REPLAY,
    ]  # fmt: skip
    assert "Traceback" not in said
    for name, sides in (("golden::gate[rides]", ("golden", "here")),
                        ("replay::log[last_night]", ("online", "offline"))):  # fmt: skip
        told = section(said, name)
        assert re.search(r"feature +log_fare\n", told), told
        assert f"log_fare() at {FEATURES}:{line}" in told
        values = [float(re.search(rf"^  {side} +(\S+)$", told, re.MULTILINE)[1]) for side in sides]  # type: ignore[index]
        assert values[0] > values[1], "log1p against log"
        assert re.search(r"\|Δ\| +\S+, [\d,]+ ULPs", told)
        assert re.search(r"cause +likely the code of log_fare\(\) at", told)
    assert "with the golden values of log_fare put back, none does" in said
    assert re.search(r"request +\S+-\S+-\S+\n", section(said, "replay::log[last_night]"))
    assert f"::error file={FEATURES},line={line}," in said
    cases = ET.parse(repository / "report.xml").getroot().findall(".//testcase")
    (gate,) = [c for c in cases if c.get("name") == "gate[rides]"]
    properties = {p.get("name"): p.get("value") for p in gate.iter("property")}
    assert properties["feature"] == "log_fare"
    assert properties["feature_agree_ratio"] == "0.0"


def test_the_command_that_it_prints_reproduces_it(repository: Path) -> None:
    change(repository, LOG_FARE, LOG_FARE.replace("log1p", "log"))
    _, said = run_pytest(repository, "-k", "gate or last_night")
    commands = re.findall(r"^reproduce +(.+)$", said, re.MULTILINE)
    assert len(commands) == 2, said
    for command, name in zip(
        commands, ("golden::gate[rides]", "replay::log[last_night]"), strict=True
    ):
        again = subprocess.run(
            command, shell=True, cwd=repository, capture_output=True, text=True, check=False
        )
        assert again.returncode == 1, again.stderr
        assert section(again.stdout, name).strip() == section(said, name).strip()


def test_a_changed_threshold_that_few_rows_meet(repository: Path) -> None:
    line = change(
        repository, "np.minimum(distance_km, LONGEST_KM)", "np.minimum(distance_km, 20.0)"
    )
    code, said = run_pytest(repository, "-k", "gate")
    assert code == 1
    told = section(said, "golden::gate[rides]")
    assert re.search(r"feature +distance\n", told), told
    assert re.search(r"here +20.0\n", told)
    assert f"distance() at {FEATURES}:{line}" in told


def test_a_change_of_an_intermediate_column_names_every_feature_it_moves(repository: Path) -> None:
    change(repository, "picked_up // 60_000_000 % MINUTES_A_DAY", "picked_up // 60_000_000 % 1441")
    _, said = run_pytest(repository, "-k", "gate")
    told = section(said, "golden::gate[rides]")
    assert re.search(r"differ +time_sin .*, time_cos ", told), told
    assert "minute_of_day() at" in told, "the one function that both read"


def test_a_new_feature_is_told_as_other_inputs_of_the_model(repository: Path) -> None:
    path = repository / FEATURES
    more = "@flow.feature\ndef fare_again(fare: Floats) -> Floats:\n    return fare\n\n\n"
    path.write_text(path.read_text().replace("pipeline = flow", f"{more}pipeline = flow"))
    _, said = run_pytest(repository, "-k", "gate or last_night")
    for name in ("golden::gate[rides]", "replay::log[last_night]"):
        assert "only here: fare_again (float64)" in section(said, name), said


def test_a_broken_law_is_found_on_its_records(repository: Path) -> None:
    change(repository, "fare / mean_fare", "fare / fare.mean()")
    _, said = run_pytest(repository, "-k", "rows_independent and not generated")
    told = section(said, "laws::rows_independent[rides]")
    assert re.search(r"feature +fare_to_mean\n", told), told
    assert "fare_to_mean() at" in told
    assert "likely a mean" in told


def test_two_processes_find_the_same(repository: Path) -> None:
    change(repository, LOG_FARE, LOG_FARE.replace("log1p", "log"))
    _, said = run_pytest(repository, "-n", "2", "-k", "golden or replay or environment")
    assert sorted(re.findall(r"^FAILED (\S+)", said, re.MULTILINE)) == [
        "samescore.toml::environment::pipeline[rides]", GATE, REPLAY,
    ]  # fmt: skip


def test_what_the_workflows_run_is_there() -> None:
    github = yaml.safe_load((EXAMPLE / ".github/workflows/test.yml").read_text())
    steps = [s.get("run", "") for s in github["jobs"]["test"]["steps"]]
    gitlab = yaml.safe_load((EXAMPLE / ".gitlab-ci.yml").read_text())["test"]
    for script in ("\n".join(steps), "\n".join(gitlab["before_script"] + gitlab["script"])):
        assert "pytest --junitxml report.xml" in script
        for name in re.findall(r"python (\w+\.py)", script):
            assert (EXAMPLE / name).is_file()
        assert "samescore serve models --pipeline ride_features --log requests" in script
    extras = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    assert "ci" in extras["optional-dependencies"]
