from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from consistency.errors import ConfigError
from monitors.suites.whole.checking import frame_of
from monitors.suites.whole.data_docs import MARK, Documented, build_data_docs
from monitors.suites.whole.offline_pages import POLICY, fetches

pytestmark = pytest.mark.slow

HARM = "<script>window.harmed = 1</script><img src=x onerror=alert(1)>"
QUANTILES = {"quantiles": [0.5], "value_ranges": [[0, 5]]}


def suite(name: str = "shop") -> dict[str, Any]:
    def rule(kind: str, policy: str | None = None, **kwargs: Any) -> dict[str, Any]:
        facts = {"policy": policy} if policy else {}
        return {"type": f"expect_{kind}", "kwargs": kwargs, "meta": {"samescore": facts}}

    return {
        "name": name,
        "expectations": [
            rule(
                "column_values_to_be_in_set",
                column="city",
                value_set=["Bonn", HARM + "?", "$5"],
                policy="flag",
            ),
            rule("column_quantile_values_to_be_between", column="age", quantile_ranges=QUANTILES),
            rule("column_pair_values_a_to_be_greater_than_b", column_A="age", column_B="paid"),
            rule("multicolumn_sum_to_equal", column_list=["age", "paid"], sum_total=9),
        ],
    }


ROWS = [{"city": HARM, "age": 9, "paid": i % 3} for i in range(30)]


def pages(site: Path) -> dict[str, str]:
    return {str(p.relative_to(site)): p.read_text() for p in site.rglob("*.html")}


def test_the_site_holds_suites_and_results_and_fetches_nothing(tmp_path: Path) -> None:
    site = tmp_path / "site"
    documented = [Documented("m", suite(), frame_of(ROWS, [])), Documented("n", suite("other"))]
    assert build_data_docs(documented, site) == site / "index.html"
    found = pages(site)
    (result,) = [p for p in found if p.startswith("validations/shop/m/")]
    assert set(found) == {"index.html", "expectations/shop.html", "expectations/other.html", result}
    assert [p for p, text in found.items() if fetches(text) or POLICY not in text] == []
    assert "quantiles must be within" in found["expectations/shop.html"]
    assert "row-level, policy flag" in found["expectations/shop.html"]
    assert "batch-level" in found["expectations/shop.html"]
    assert "Values in" in found[result]
    assert "100% unexpected" in found[result]
    assert [p for p, text in found.items() if HARM in text] == [], "values are escaped"


def test_its_own_folder_is_replaced_and_no_other_one(tmp_path: Path) -> None:
    site = tmp_path / "site"
    build_data_docs([Documented("m", suite())], site)
    build_data_docs([Documented("m", suite("next"))], site)
    assert set(pages(site)) == {"index.html", "expectations/next.html"}
    (site / MARK).unlink()
    with pytest.raises(ConfigError, match="holds other files"):
        build_data_docs([Documented("m", suite())], site)
    assert "expectations/next.html" in pages(site)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="is no folder"):
        build_data_docs([Documented("m", suite())], file)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "site"], "nothing half-made"


def test_two_suites_of_one_name_are_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a name of its own"):
        build_data_docs([Documented("m", suite()), Documented("n", suite())], tmp_path / "site")


def test_a_browser_shows_it_without_the_network(tmp_path: Path) -> None:
    """Chromium draws the index page's table from what stands in the page."""
    build_data_docs([Documented("m", suite(), frame_of(ROWS, []))], tmp_path / "site")
    page = (tmp_path / "site" / "index.html").as_uri()
    ran = subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
         "--disable-background-networking", f"--user-data-dir={tmp_path / 'profile'}",
         "--virtual-time-budget=5000", "--dump-dom", page],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "expectations/shop.html" in ran.stdout
    assert "validations/shop/m/" in ran.stdout.replace("&quot;", '"')
    assert "harmed" not in ran.stdout or "&lt;script&gt;window.harmed" in ran.stdout


QUIET = """
import socket, sys
from pathlib import Path
asked = []
def refuse(*args, **kwargs):
    asked.append(args)
    raise OSError("no network in this test")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
from monitors.suites.whole.data_docs import Documented, build_data_docs
from monitors.suites.whole.checking import frame_of
suite = {"name": "s", "expectations": [
    {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "x"}}]}
build_data_docs([Documented("m", suite, frame_of([{"x": 1}], []))], Path(sys.argv[1]))
print(asked)
"""


def test_nothing_is_sent_while_it_is_built(tmp_path: Path) -> None:
    script = tmp_path / "quiet.py"
    script.write_text(QUIET)
    command = [sys.executable, "-W", "ignore", str(script), str(tmp_path / "site")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.strip().splitlines()[-1] == "[]"
