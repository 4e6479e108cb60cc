"""The plugin in a pytest of its own, as a team runs it."""

from __future__ import annotations

import importlib.metadata
import shlex
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fixtures.tiny import Tiny, spoil_golden

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.slow

CONFIG = """
trusted = ["tiny_features"]

[bundles.tiny]
path = "{bundle}"
distinct = ["score"]
generated = 3
storage = ["parquet"]
"""


@pytest.fixture
def project(
    pytester: pytest.Pytester, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A folder with a `samescore.toml` about the tiny bundle."""
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tiny.site), prepend=":")
    (pytester.path / "samescore.toml").write_text(CONFIG.format(bundle=tiny.bundle))
    return pytester


def run(project: pytest.Pytester, *arguments: object) -> pytest.RunResult:
    return project.runpytest_subprocess("-p", "no:cacheprovider", *map(str, arguments))


def modules_imported(project: pytest.Pytester, names: Sequence[str]) -> str:
    """Make the session say which modules it has imported at its end."""
    return project.makeconftest(
        f"""
        import sys
        def pytest_unconfigure(config):
            print("IMPORTED", sorted({{"samescore.pytest_plugin.nodes", *{tuple(names)!r}}}
                                      & sys.modules.keys()))
        """
    ).name


def test_the_distribution_brings_the_plugin_along() -> None:
    found = importlib.metadata.entry_points(group="pytest11", name="samescore")
    assert {e.value for e in found} == {"samescore.pytest_plugin.plugin"}


def test_without_a_configuration_it_sleeps(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    modules_imported(pytester, ["numpy", "consistency", "serving"])
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["IMPORTED []"])


def test_collecting_names_every_check_and_loads_no_model(project: pytest.Pytester) -> None:
    modules_imported(project, ["xgboost", "tensorflow", "pandas", "tiny_features"])
    result = run(project, "--collect-only", "-q")
    result.stdout.fnmatch_lines(
        [
            "samescore.toml::environment::files[[]tiny]",
            "samescore.toml::laws::rows_independent[[]tiny]",
            "samescore.toml::laws::hostile_refused[[]tiny-generated]",
            "samescore.toml::golden::gate[[]tiny]",
            "samescore.toml::storage::round_trips[[]tiny]",
            "samescore.toml::scorer::batch_size_invariant[[]tiny]",
        ]
    )
    assert "IMPORTED ['samescore.pytest_plugin.nodes']" in result.stdout.str()


def test_selecting_by_name_by_marker_and_by_id(project: pytest.Pytester) -> None:
    project.makepyfile("def test_own(): pass")
    run(project, "-k", "pure and not generated").assert_outcomes(passed=1)
    run(project, "-m", "not samescore").assert_outcomes(passed=1)
    run(project, "samescore.toml::environment::files[tiny]").assert_outcomes(passed=1)


def test_two_processes(project: pytest.Pytester) -> None:
    result = run(project, "-n", "2", "-k", "golden or (laws and tiny)")
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] >= 16


def test_testpaths_elsewhere_do_not_hide_the_configuration(project: pytest.Pytester) -> None:
    (project.path / "tests").mkdir()
    (project.path / "tests" / "test_own.py").write_text("def test_own(): pass\n")
    project.makeini("[pytest]\ntestpaths = tests\n")
    run(project, "-k", "own or files").assert_outcomes(passed=2)
    run(project, "tests", "-k", "own or files").assert_outcomes(passed=1)


def test_another_configuration_file(project: pytest.Pytester) -> None:
    (project.path / "samescore.toml").rename(project.path / "nightly.toml")
    run(project, "-k", "files").assert_outcomes()
    result = run(project, "--samescore-config", "nightly.toml", "-k", "files", "-v")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nightly.toml::environment::files*PASSED*"])
    missing = run(project, "--samescore-config", "none.toml")
    assert missing.ret == pytest.ExitCode.USAGE_ERROR
    missing.stderr.fnmatch_lines(["*--samescore-config none.toml: no such file"])


def test_a_hook_in_conftest(project: pytest.Pytester, tiny: Tiny) -> None:
    (project.path / "samescore.toml").unlink()
    project.makeconftest(
        f"""
        def pytest_samescore_config(config):
            return {{"trusted": ["tiny_features"],
                     "bundles": {{"tiny": {{"path": {str(tiny.bundle)!r}, "generated": 0}}}}}}
        """
    )
    result = run(project, "-k", "gate or pure", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["conftest.py::golden::gate[[]tiny] PASSED*"])


def test_a_hook_that_returns_nothing_is_an_error(project: pytest.Pytester) -> None:
    (project.path / "samescore.toml").unlink()
    project.makeconftest("def pytest_samescore_config(config):\n    pass\n")
    result = run(project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*conftest.py: pytest_samescore_config returned None; return a*"])


@pytest.mark.parametrize("text", ["", "strict = true\n", "[bundles.tiny]\n"])
def test_a_configuration_that_checks_nothing_is_an_error(
    project: pytest.Pytester, text: str
) -> None:
    (project.path / "samescore.toml").write_text(text)
    result = run(project)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.assert_outcomes(errors=1)
    assert "Traceback" not in result.stdout.str()
    result.stdout.fnmatch_lines([f"{project.path}/samescore.toml: *"])


def test_what_did_not_run_is_said_aloud_and_fails_when_strict(project: pytest.Pytester) -> None:
    path = project.path / "samescore.toml"
    path.write_text(path.read_text() + 'devices = ["cpu", "cuda:97"]\n')
    result = run(project, "-k", "device_invariant")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["NOT CHECKED samescore.toml::scorer::device_*cuda:97*"])
    strict = run(project, "-k", "device_invariant", "--samescore-strict")
    strict.assert_outcomes(failed=1)
    path.write_text("strict = true\n" + path.read_text())
    run(project, "-k", "device_invariant").assert_outcomes(failed=1)


def test_a_check_that_the_team_leaves_out_is_said_aloud(project: pytest.Pytester) -> None:
    path = project.path / "samescore.toml"
    path.write_text(path.read_text() + '[bundles.tiny.skip]\n"laws::pure" = "mended in May"\n')
    result = run(project, "-k", "pure and not generated", "--samescore-strict")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["NOT CHECKED samescore.toml::laws::pure*mended in May"])


@pytest.fixture
def red(project: pytest.Pytester, tiny: Tiny, tmp_path: Path) -> pytest.Pytester:
    """The project with a bundle that cannot reproduce its golden scores."""
    bundle = spoil_golden(tiny.copy(tmp_path / "models") / "tiny" / "1")
    (project.path / "samescore.toml").write_text(CONFIG.format(bundle=bundle))
    return project


def test_a_red_item_has_no_traceback_and_a_command_that_works(red: pytest.Pytester) -> None:
    result = run(red, "-k", "gate", "--junitxml", "report.xml")
    result.assert_outcomes(failed=1)
    said = result.stdout.str()
    assert "Traceback" not in said
    assert "nodes.py" not in said
    result.stdout.fnmatch_lines(["*first difference", "  row *0", "  stage *scores", "reproduce*"])
    (line,) = [ln for ln in said.splitlines() if ln.startswith("reproduce")]
    again = subprocess.run(
        line.removeprefix("reproduce").strip(),
        shell=True, cwd=red.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert again.returncode == 1
    assert "golden gate of" in again.stdout
    case = ET.parse(red.path / "report.xml").getroot().find(".//testcase")
    assert case is not None
    properties = {p.get("name"): p.get("value") for p in case.iter("property")}
    assert (properties["rows"], properties["agree_ratio"]) == ("40", "0.0")
    failure = case.find("failure")
    assert failure is not None
    assert "golden gate of" in str(failure.get("message"))


def test_annotations_where_github_reads_them(
    red: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(red.path))
    result = run(red, "-k", "gate")
    result.stdout.fnmatch_lines(["::error file=samescore.toml,line=4,title=samescore.toml%3A%3A*"])
    monkeypatch.delenv("GITHUB_ACTIONS")
    assert "::error" not in run(red, "-k", "gate").stdout.str()


def test_the_command_works_from_another_folder(red: pytest.Pytester) -> None:
    (red.path / "sub").mkdir()
    (red.path / "pytest.ini").write_text("[pytest]\n")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "..", "-k", "gate"],
        cwd=red.path / "sub", capture_output=True, text=True, check=False,
    )  # fmt: skip
    (line,) = [ln for ln in ended.stdout.splitlines() if ln.startswith("reproduce")]
    words = shlex.split(line.removeprefix("reproduce"))
    assert words[-1] == "../samescore.toml::golden::gate[tiny]"
    again = subprocess.run(words, cwd=red.path / "sub", capture_output=True, check=False)
    assert again.returncode == 1


def test_what_kills_a_check_fails_it_and_nothing_else(
    project: pytest.Pytester, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    text = (tiny.site / "tiny_features.py").read_text()
    (site / "tiny_features.py").write_text(f"{text}\nimport os\nos.kill(os.getpid(), 9)\n")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    killed = run(project, "-k", "gate")
    killed.assert_outcomes(failed=1)
    killed.stdout.fnmatch_lines(["*process of this check was killed by signal 9*"])


def test_an_exception_of_the_teams_own_code_is_told_with_its_line(
    project: pytest.Pytester, tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    text = (tiny.site / "tiny_features.py").read_text()
    (site / "tiny_features.py").write_text(f"{text}\nraise KeyError('no such city')\n")
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    broken = run(project, "-k", "gate or (pure and not generated)")
    broken.assert_outcomes(failed=2)
    line = len(text.splitlines()) + 2
    broken.stdout.fnmatch_lines(
        [f"*KeyError at {site}/tiny_features.py:{line}: 'no such city'"] * 2
    )
    assert "Traceback" not in broken.stdout.str()
