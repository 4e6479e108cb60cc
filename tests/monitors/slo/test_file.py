"""An SLO file says what it says, and every mistake in it is told with its remedy."""

from __future__ import annotations

import pytest

from consistency.errors import ConfigError
from monitors.slo.file import parse_slo
from monitors.slo.settings import Indicator, Objective, SloSettings

DAY = 86_400
WHOLE = """
window = "30d"
scrape_interval = "10s"
min_events = 50
min_bad_events = 2

[models.flights]
availability = { objective = 0.999 }
latency = { objective = 0.99, latency_seconds = 0.2, page = false }

[models.spam]
window = "1w"
data_quality = { objective = 0.95 }
parity = { objective = 0.9999, period = "1d" }
"""


def test_every_setting_arrives() -> None:
    assert parse_slo(WHOLE, "slo.toml") == SloSettings(
        (
            Objective("flights", Indicator.AVAILABILITY, 0.999, 30 * DAY),
            Objective(
                "flights", Indicator.LATENCY, 0.99, 30 * DAY, latency_seconds=0.2, page=False
            ),
            Objective("spam", Indicator.DATA_QUALITY, 0.95, 7 * DAY, page=False),
            Objective("spam", Indicator.PARITY, 0.9999, 7 * DAY, period_seconds=DAY),
        ),
        scrape_interval_seconds=10,
        min_events=50,
        min_bad_events=2,
    )


def model(line: str) -> str:
    return f"[models.m]\n{line}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("window = 30d", "is no TOML"),
        ("", "there is no objective; begin with a table [models.NAME]"),
        ("[models.m]", "there is no objective"),
        ("windw = '30d'", "windw is no setting; did you mean window?"),
        ("models = 3", "models is 3; it must be a table"),
        ("[models]\nm = 3", "models.m is 3; it must be a table"),
        ("[models.'../m']\navailability = { objective = 0.9 }", "../m"),
        ("window = 30", "window is 30; give a number and one of s, m, h, d, w in quotation marks"),
        ("window = '0d'", "window is '0d'"),
        ("window = '367d'", "of at most 366 days"),
        ("min_events = 1.5", "min_events is 1.5; give a whole number"),
        ("min_events = 0\n" + model("availability = { objective = 0.9 }"), "give 1 or more"),
        (model("availabilty = { objective = 0.9 }"), "is no setting; did you mean availability?"),
        (model("availability = 0.9"), "models.m.availability is 0.9; it must be a table"),
        (model("availability = { }"), "models.m.availability lacks objective"),
        (model("availability = { objective = 'high' }"), "objective is 'high'; give a number"),
        (model("availability = { objective = true }"), "objective is True; give a number"),
        (model("availability = { objective = 99.9 }"), "not a percentage: write 0.999"),
        (model("availability = { objective = 1.0 }"), "m.availability.objective is 1.0; give a"),
        (model("availability = { objective = nan }"), "m.availability.objective is nan; give a"),
        (model("availability = { objective = 0.9, page = 1 }"), "page is 1; write true or false"),
        (model("availability = { objective = 0.9, period = '1d' }"), "period is no setting"),
        (model("latency = { objective = 0.9 }"), "models.m.latency lacks latency_seconds"),
        (model("latency = { objective = 0.9, latency_seconds = 0.21 }"), "take one of 1e-05"),
        (model("parity = { objective = 0.9 }"), "models.m.parity lacks period"),
        (model("window = '1d'\navailability = { objective = 0.9 }"), "take 6d or more"),
    ],
)
def test_a_mistake_is_named_with_file_field_value_and_remedy(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_slo(text, "slo.toml")
    assert str(raised.value).startswith("slo.toml")
    assert said in str(raised.value)
