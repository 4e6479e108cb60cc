"""Text in, token list and two numbers out: what training and serving share."""

from __future__ import annotations

from doc_features.features import pipeline
from doc_features.tokenizer import MOST_TOKENS, tokenize

__all__ = ["MOST_TOKENS", "pipeline", "tokenize"]
