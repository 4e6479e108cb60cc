"""Raw libsvm row in, 524 features out: what training and serving share."""

from __future__ import annotations

from risk_features.features import FILL, WIDTH, parse_row, pipeline

__all__ = ["FILL", "WIDTH", "parse_row", "pipeline"]
