"""Replays a log folder against bundles on disk: here, on several cores, or on Spark."""
