"""Makes a page of Great Expectations' Data Docs load nothing from anywhere. Pure.

The pages that GX writes fetch styles, scripts and a logo from eight hosts when they are opened, the
logo with the time of the run in its address. Here all of that is replaced by what stands in the
page itself, and a content security policy keeps a browser from fetching anything else.
"""

from __future__ import annotations

import re
from typing import Final

from monitors.suites.whole.offline_assets import SCRIPT, STYLE

POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)

_REMOTE: Final = r"""["'](?:https?:)?//[^"']*["']"""
_SCRIPTS: Final = re.compile(rf"<script\b[^>]*\bsrc={_REMOTE}[^>]*>\s*</script>", re.IGNORECASE)
_LINKS: Final = re.compile(r"<link\b[^>]*>", re.IGNORECASE)
_IMAGES: Final = re.compile(rf"<img\b[^>]*\bsrc={_REMOTE}[^>]*>", re.IGNORECASE | re.DOTALL)
_FOOTERS: Final = re.compile(r"<footer>.*?</footer>", re.IGNORECASE | re.DOTALL)
_CSS_URLS: Final = re.compile(rf"url\(\s*(?:{_REMOTE}|(?:https?:)?//[^)]*)\s*\)", re.IGNORECASE)
_HEAD: Final = re.compile(r"<head>", re.IGNORECASE)

_FETCHES: Final = re.compile(
    rf"<(?:script|img|iframe|link|source|object|embed)\b[^>]*\b(?:src|href|data)={_REMOTE}"
    r"|url\(\s*[\"']?(?:https?:)?//|@import",
    re.IGNORECASE,
)


def offline(page: str) -> str:
    """Return a page that a browser shows without fetching anything.

    >>> offline('<head><script src="https://x.org/a.js"></script></head>').count("x.org")
    0
    """
    page = _SCRIPTS.sub("", page)
    page = _LINKS.sub("", page)
    page = _IMAGES.sub('<span class="samescore-brand">Great Expectations</span>', page)
    page = _FOOTERS.sub("", page)
    page = _CSS_URLS.sub("none", page)
    head = (
        f'<head>\n<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<style>{STYLE}</style>\n<script>{SCRIPT}</script>"
    )
    return _HEAD.sub(lambda _: head, page, count=1)


def fetches(page: str) -> list[str]:
    """Return what a page would make a browser fetch from another host.

    >>> fetches('<img src="//x.org/a.png"> <a href="https://x.org">no fetch</a>')
    ['<img src="//x.org/a.png"']
    """
    return _FETCHES.findall(page)
