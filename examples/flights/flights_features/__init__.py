"""The feature pipeline of the flights example, shared by training and serving.

A bundle names it as ``flights_features:pipeline``. It needs numpy and samescore, nothing else.
"""

from flights_features.features import pipeline

__all__ = ["pipeline"]
