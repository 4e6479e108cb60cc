"""The checks: each opens what it is about, and returns what it found."""
