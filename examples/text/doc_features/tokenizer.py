"""The one tokenizer: text to tokens, by Unicode's rules and no locale's."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

MOST_TOKENS: Final = 64

_WORD: Final = re.compile(r"[^\W_]+")


def tokenize(text: str) -> list[str]:
    """Return a text's first 64 tokens: runs of letters and digits, normalised and case-folded.

    NFKC comes before and after folding, since either can undo the other's form. The text's own form
    therefore does not matter: composed or decomposed, full-width or not.

    >>> tokenize("Stra\u00dfe, STRASSE; caf\u0065\u0301 2\u00b2!")
    ['strasse', 'strasse', 'café', '22']
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return _WORD.findall(folded)[:MOST_TOKENS]
