"""Which regular expressions mean the same to Python's `re` and to pandas' string columns.

pandas matches with Arrow's RE2 where that cannot differ from `re`, and with `re` elsewhere; a
pattern that RE2 cannot read is an error there unless pandas sends it to `re`. The guard always uses
`re`. So a pattern is taken when both can read it, or when pandas is sure to use `re`.
"""

from __future__ import annotations

import re
from typing import Final

_ALWAYS_RE: Final = re.compile(r"\(\?<?[=!]|\(\?P=|\\[1-9]")
"""Lookaround and backreferences: pandas hands these to `re`."""


def check_pattern(pattern: str) -> str:
    r"""Return why a pattern cannot be compiled, or nothing.

    >>> check_pattern("^a.*$"), check_pattern("(?=a)b")
    ('', '')
    >>> check_pattern("(a")
    'no regular expression (missing ), unterminated subpattern at position 0)'
    >>> check_pattern("a{1001}")
    'Arrow, with which pandas matches, cannot read it'
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        re.compile(pattern)
    except re.error as e:
        return f"no regular expression ({e})"
    if _ALWAYS_RE.search(pattern):
        return ""
    try:
        # a null, since making any other value would have pyarrow import pandas
        nothing = pa.nulls(1, pa.string())
        # pandas writes re's end of text as RE2 does before it hands a pattern on.
        pc.match_substring_regex(nothing, pattern.replace(r"\Z", r"\z"))
    except pa.ArrowInvalid:
        return "Arrow, with which pandas matches, cannot read it"
    return ""
