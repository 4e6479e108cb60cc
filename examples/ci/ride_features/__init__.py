"""The feature pipeline of the ride-tip model: what training and serving share."""

from ride_features.features import pipeline

__all__ = ["pipeline"]
