"""Service level objectives: from a small file to burn-rate recording and alerting rules."""
