"""The monitors that run beside the server: counts in mapped files, shown on /metrics."""
