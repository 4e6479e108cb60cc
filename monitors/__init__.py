"""Watches scored requests: metrics, frozen references, stability indices.

`metrics/` names every metric once. `reference.py` freezes the training distribution and counts
windows against it, `psi.py` compares the counts; both are pure. `latency.py` observes requests.
"""
