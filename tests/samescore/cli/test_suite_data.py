"""Whole suites over windows of a log and over files, Data Docs, and a policy for each rule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prometheus_client.parser import text_string_to_metric_families

from consistency.log import LoggedRequest, RequestLogReader
from consistency.scored import Outcome
from monitors.suites.whole.offline_pages import fetches
from tests.fixtures.cli import mistake, samescore
from tests.fixtures.server import Reply, Server, serving
from tests.fixtures.tiny import PACKAGE, Tiny, make_records, record_body

pytestmark = pytest.mark.slow

BONN = {"type": "comparison", "column": {"name": "city"}, "operator": "==", "parameter": "Bonn"}


def rule(kind: str, policy: str | None = None, **kwargs: Any) -> dict[str, Any]:
    meta = {"samescore": {"policy": policy}} if policy else {}
    return {"type": f"expect_{kind}", "kwargs": kwargs, "meta": meta}


def write_suite(path: Path, *rules: dict[str, Any]) -> Path:
    path.write_bytes(orjson.dumps({"name": "shop", "expectations": list(rules)}))
    return path


RULES = (
    rule("column_values_to_be_between", "reject", column="age", min_value=0, max_value=120),
    rule("column_values_to_be_in_set", "flag", column="city", value_set=["Bonn", "Ulm"]),
    rule("column_pair_values_a_to_be_greater_than_b", "flag", column_A="amount", column_B="age"),
    rule("column_values_to_not_be_null", "count", column="score", row_condition=BONN),
    rule("column_mean_to_be_between", column="age", min_value=0, max_value=100),
)
GOOD = {"amount": 120.0, "age": 40, "city": "Bonn", "score": 0.5}


def violations(server: Server) -> dict[tuple[str, str], float]:
    text = server.get("/metrics").body.decode()
    return {
        (s.labels["rule"], s.labels["action"]): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
        if s.name == "samescore_suite_violations_total" and s.value
    }


def test_each_policy_is_seen_in_reply_log_and_metrics(tiny: Tiny, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite.json", *RULES)
    options = ("--log", tmp_path / "log", "--pipeline", PACKAGE, "--suite", f"tiny={suite}")
    with serving(
        tiny.base, *options, errors=tmp_path / "stderr", environment=tiny.environment()
    ) as server:

        def ask(*records: dict[str, Any]) -> Reply:
            return server.post("/predict/tiny/1", record_body(list(records)))

        plain = ask(GOOD)
        flagged = ask(GOOD, {**GOOD, "city": "Kiel"}, {**GOOD, "amount": 1.0, "city": "Rom"})
        counted = ask({k: v for k, v in GOOD.items() if k != "score"})
        refused = ask({**GOOD, "city": "Kiel"}, {**GOOD, "age": 400})
        found = violations(server)
        assert server.terminate() == 0
    assert [r.status for r in (plain, flagged, counted, refused)] == [200, 200, 200, 400]
    assert set(plain.json["data"]) == set(counted.json["data"]) == {"insts"}
    said = {"city:be_in_set": [1, 2], "amount,age:a_greater_than_b": [2]}
    assert flagged.json["data"]["flags"] == said
    assert len(flagged.json["data"]["insts"]) == 3
    assert refused.json["message"].startswith("数据错误: row 1 field 'age' is 400")
    assert found == {
        ("age:be_between", "rejected"): 1,
        ("city:be_in_set", "flagged"): 3,
        ("amount,age:a_greater_than_b", "flagged"): 2,
        ("score:not_be_null if city == 'Bonn'", "counted"): 1,
    }
    held = {
        r.request_id: r for r in RequestLogReader(tmp_path / "log") if isinstance(r, LoggedRequest)
    }
    assert held[flagged.request_id].flags == said
    assert held[counted.request_id].flags == held[plain.request_id].flags == {}
    assert held[refused.request_id].outcome is Outcome.DATA_ERROR
    printed = samescore("log", "cat", tmp_path / "log", "--request-id", flagged.request_id)
    assert orjson.loads(printed.out)["flags"] == said
    rows = tmp_path / "rows.jsonl"
    assert samescore("log", "export", tmp_path / "log", "--out", rows).code == 0
    lines = map(orjson.loads, rows.read_bytes().splitlines())
    by_row = [(line["request_id"], line["flags"]) for line in lines]
    assert [f for i, f in by_row if i == flagged.request_id] == [[], [*said][:1], [*said]]
    assert all(not f for i, f in by_row if i != flagged.request_id)


def test_a_suite_over_a_window_of_a_log(log: Any, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s.json", *RULES)
    check = ("suite", "check", log.folder, "--suite", f"tiny={suite}", "--json")
    whole = samescore(*check).json["models"][0]
    accepted = samescore(*check, "--outcome", "ok").json["models"][0]
    assert whole["rows"] > accepted["rows"] > 0
    kinds = {e["level"] for e in accepted["expectations"]}
    assert kinds == {"row", "batch"}
    said = mistake(
        "suite", "check", log.folder, "--suite", f"tiny={suite}", "--until", "2001-01-01"
    )
    assert "no raw record of model 'tiny'" in said


def test_a_suite_over_a_file(tiny: Tiny, tmp_path: Path) -> None:
    """What was learnt from one month holds in the next, and a shift is found."""
    names = ("amount", "age", "city", "score")
    files = {}
    for name, seed, more in (("may", 1, 0), ("june", 2, 0), ("july", 3, 25)):
        rows = [{**r, "age": r["age"] + more} for r in make_records(2_000, seed)]
        columns = {n: [r.get(n) for r in rows] for n in names}
        files[name] = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table(columns), files[name])
    suite = tmp_path / "suite.json"
    build = ("suite", "build", files["may"], "--bundle", tiny.bundle, "--out", suite)
    assert samescore(*build).code == 0
    check = ("--suite", f"tiny={suite}")
    same = samescore("suite", "check", files["june"], *check)
    assert same.code == 0, same.words
    assert "tiny: 2,000 rows, suite tiny" in same.words
    shifted = samescore("suite", "check", files["july"], *check, "--json")
    assert shifted.code == 1
    failed = {e["type"] for e in shifted.json["models"][0]["expectations"] if not e["success"]}
    assert "expect_column_quantile_values_to_be_between" in failed
    few = tmp_path / "few.jsonl"
    few.write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in make_records(20)))
    ran = samescore("suite", "check", few, *check)
    assert "on 20 rows chance alone may break them; give up to" in ran.words
    assert "choose of a log" in mistake("suite", "check", few, *check, "--since", "1h")
    assert "name one --suite" in mistake("suite", "check", few, *check, "--suite", f"m={suite}")


def test_data_docs_of_a_log(log: Any, tmp_path: Path) -> None:
    suite, site = write_suite(tmp_path / "s.json", *RULES), tmp_path / "site"
    docs = ("suite", "docs", log.folder, "--suite", f"tiny={suite}", "--out", site)
    assert samescore(*docs).out.strip() == str(site / "index.html")
    pages = {str(p.relative_to(site)): p.read_text() for p in site.rglob("*.html")}
    assert {"index.html", "expectations/shop.html"} < set(pages)
    assert any(p.startswith("validations/shop/tiny/") for p in pages)
    assert [p for p, text in pages.items() if fetches(text)] == []
    alone = tmp_path / "alone"
    assert samescore("suite", "docs", "--suite", f"tiny={suite}", "--out", alone).code == 0
    assert not (alone / "validations").exists()


def test_mistakes_of_docs(log: Any, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "s.json", *RULES)
    assert "at least one --suite" in mistake("suite", "docs", "--out", tmp_path / "x")
    named = ("--suite", f"other={suite}", "--out", tmp_path / "x")
    assert "no raw record of model 'other'" in mistake("suite", "docs", log.folder, *named)
    assert "holds other files" in mistake(
        "suite", "docs", "--suite", f"tiny={suite}", "--out", tmp_path
    )
    assert not (tmp_path / "x").exists()
