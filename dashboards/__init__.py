"""Grafana boards as code, built from the metric catalogue; empty until the boards are written."""
