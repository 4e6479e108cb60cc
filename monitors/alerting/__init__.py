"""Alert and recording rules, built from the metric catalogue."""
