from __future__ import annotations

import pytest

from monitors.suites.whole.offline_pages import POLICY, fetches, offline

PAGE = """<!DOCTYPE html><html><head><title>x</title>
<link rel="stylesheet" href="https://cdn.example/a.css"/>
<link rel="shortcut icon" href="./static/images/favicon.ico" type="image/x-icon"/>
<style>a { background: url('https://cdn.example/logo.png') 0 0; }</style>
<script src="https://cdn.example/a.js" integrity="sha384-x"></script>
<script>var kept = 1;</script></head><body>
<img class="NO-CACHE"
  src="https://cdn.example/logo.png?d=20260101" alt="x"/>
<a href="https://example.org">a link</a>
<footer><p>news <a href="https://example.org/?utm_source=docs">Subscribe</a></p></footer>
</body></html>"""


def test_a_page_fetches_nothing_any_more() -> None:
    assert len(fetches(PAGE)) == 4
    made = offline(PAGE)
    assert fetches(made) == []
    assert "cdn.example" not in made
    assert "utm_source" not in made
    assert "var kept = 1;" in made
    assert '<a href="https://example.org">a link</a>' in made


def test_the_policy_comes_before_all_that_could_load() -> None:
    made = offline(PAGE)
    assert made.index(POLICY) < made.index("<style>") < made.index("<script>")
    assert "default-src 'none'" in POLICY


@pytest.mark.parametrize(
    "text",
    [
        "<script src='//cdn.example/a.js'></script>",
        '<iframe src="http://example.org"></iframe>',
        "<style>@import 'x.css'</style>",
        "<style>b { background: url(//example.org/x) }</style>",
    ],
)
def test_what_would_be_fetched_is_seen(text: str) -> None:
    assert fetches(text)
