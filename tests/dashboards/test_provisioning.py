"""The files that give a Grafana its data source and its boards."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from dashboards.render import boards
from tests.dashboards.linter import variables

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_data_source_is_one_that_the_boards_can_choose() -> None:
    file = read(PROVISIONING / "datasources" / "samescore.yaml")
    assert file["apiVersion"] == 1
    (source,) = file["datasources"]
    assert source["isDefault"] is True
    for board in boards():
        (variable,) = variables(dict(board.content), "datasource")
        assert variable["query"] == source["type"] == "prometheus"
        assert variable["current"]["value"] == "default"


def test_the_rate_interval_fits_the_scrape_interval() -> None:
    (source,) = read(PROVISIONING / "datasources" / "samescore.yaml")["datasources"]
    scraped = read(ROOT / "deploy" / "prometheus" / "prometheus.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


def test_boards_from_files_cannot_be_edited_and_lie_where_publishing_puts_them() -> None:
    file = read(PROVISIONING / "dashboards" / "samescore.yaml")
    assert file["apiVersion"] == 1
    (provider,) = file["providers"]
    assert provider["type"] == "file"
    assert provider["folder"] == "samescore"
    assert provider["allowUiUpdates"] is False
    assert Path(provider["options"]["path"]).is_absolute()


def test_every_alert_leads_to_a_board_and_chooses_with_variables_that_it_has() -> None:
    held = {b.uid: {v["name"] for v in b.content["templating"]["list"]} for b in boards()}
    text = (ROOT / "deploy" / "prometheus" / "samescore-rules.yml").read_text(encoding="utf-8")
    urls = re.findall(r"dashboard_url: (\S+/d/([\w-]+).*)", text)
    assert urls
    for url, uid in urls:
        assert set(re.findall(r"var-(\w+)=", url)) <= held[uid], url
