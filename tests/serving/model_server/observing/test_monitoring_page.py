from __future__ import annotations

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.model_server.observing.metric_families import Counter, Histogram
from serving.model_server.observing.monitoring_page import DEFAULT_PATH, page, read_monitoring_path
from serving.model_server.observing.serving_metrics import ServingMetrics
from serving.model_server.status import StatusError

UPSTREAM = (Path(__file__).parents[3] / "data/tfs/metrics_page.txt").read_text()
COUNTED = ("request_count", "request_latency", "runtime_latency")


def family(name: str, text: str) -> list[str]:
    """Return the lines of one of upstream's serving families."""
    full = f":tensorflow:serving:{name}"
    return [line for line in text.splitlines() if re.match(rf"(# TYPE )?{full}[ {{_]", line)
            and (f"{full}_" not in line or re.search(rf"{full}_(bucket|sum|count){{", line))
            ]  # fmt: skip


def without_sums(lines: list[str]) -> list[str]:
    return [line for line in lines if "_sum{" not in line]


def replayed() -> ServingMetrics:
    """Return metrics that have counted what upstream's had when its page was recorded."""
    metrics = ServingMetrics()
    for line in family("request_count", UPSTREAM)[1:]:
        name, status, count = re.match(  # type: ignore[union-attr]
            r'.*model_name="(.*)",status="(.*)"} (\d+)', line
        ).groups()
        metrics.request_count.add(name, status, by=int(count))
    for times in (metrics.request_latency, metrics.runtime_latency):
        below: dict[tuple[str, ...], int] = {}
        for line in family(times.name.rpartition("/")[2], UPSTREAM):
            if "_bucket{" not in line:
                continue
            *labels, limit, count = re.findall(r'="(.*?)"|} (\d+)', line)
            key = tuple(text for text, _ in labels)
            place = [*(f"{x:g}" for x in times.limits), "+Inf"].index(limit[0])
            value = (0, *times.limits)[place]
            for _ in range(int(count[1]) - below.get(key, 0)):
                times.observe(value, *key)
            below[key] = int(count[1])
    return metrics


@pytest.mark.parametrize("name", COUNTED)
def test_what_upstream_counted_is_shown_letter_by_letter_as_upstream_showed_it(name: str) -> None:
    shown = page(replayed().families()).decode()
    expected = without_sums(family(name, UPSTREAM))
    assert len(expected) > 10
    assert without_sums(family(name, shown)) == expected
    assert len(family(name, shown)) == len(family(name, UPSTREAM))


def test_the_families_of_upstream_that_count_what_this_server_does_have_its_names_and_kinds() -> (
    None
):
    ours = set(re.findall(r"# TYPE .*", page(ServingMetrics().families()).decode()))
    theirs = set(re.findall(r"# TYPE .*", UPSTREAM))
    # Upstream makes these when the first batch runs; the page was recorded without batching.
    batches = {
        f"# TYPE :tensorflow:serving:batching_session:{name} histogram"
        for name in ("padding_size", "input_batch_size", "processed_batch_size")
    }
    assert ours - theirs == batches


def test_the_families_come_in_the_order_of_their_names() -> None:
    shown = re.findall(r"# TYPE (\S+)", page(ServingMetrics(per_version=True).families()).decode())
    assert shown == sorted(shown, key=lambda name: name.replace(":", "/"))


def test_prometheus_reads_the_page() -> None:
    metrics = replayed()
    metrics.wrapped_run_count.add(by=3)
    found = {f.name: f for f in text_string_to_metric_families(page(metrics.families()).decode())}
    count = found[":tensorflow:serving:request_count"]
    assert sum(sample.value for sample in count.samples) == 68
    assert found[":tensorflow:serving:batching_session:wrapped_run_count"].samples[0].value == 3


def test_no_name_breaks_the_page() -> None:
    count = Counter("/c", ("name",))
    names = ['a"b', "a\\b", "a\nb", "naïve\ud800"]
    for name in names:
        count.add(name)
    (found,) = text_string_to_metric_families(page([count]).decode())
    assert {s.labels["name"] for s in found.samples} == {*names[:3], "naïve?"}


def test_sums_have_six_digits_as_upstreams_unless_the_family_is_ours() -> None:
    for full, shown in ((False, "1.23457e+06"), (True, "1234567")):
        times = Histogram("/h", (), (1,), full_sums=full)
        times.observe(1234567)
        assert f"h_sum{{}} {shown}" in page([times]).decode()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ('prometheus_config: {\n  enable: true,\n  path: "/metrics"\n}', "/metrics"),
        ("prometheus_config { enable: true }", DEFAULT_PATH),
        ('prometheus_config { path: "/metrics" }', None),
        ("", None),
    ],
)
def test_the_file_says_where_the_page_is(text: str, path: str | None, tmp_path: Path) -> None:
    file = tmp_path / "monitoring.txt"
    file.write_text(text)
    assert read_monitoring_path(file) == path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prometheus_config { enabled: true }", 'no field named "enabled"'),
        ('prometheus_config { enable: true path: "metrics" }', "starts with a slash"),
        ('prometheus_config { enable: true path: "/m?x" }', "'/m?x'"),
    ],
)
def test_a_file_that_is_wrong_is_told(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "monitoring.txt"
    file.write_text(text)
    with pytest.raises(StatusError) as raised:
        read_monitoring_path(file)
    assert said in raised.value.message
    assert str(file) in raised.value.message
