"""The pytest plugin: what a team states in `samescore.toml` becomes items that pytest collects.

`plugin.py` is the entry point and costs next to nothing until there is a configuration;
`configuration.py` reads it, `catalogue.py` turns it into checks, `nodes.py` into pytest's items,
`fresh.py` runs a check in a process of its own, and the other modules are the checks.

What other data-test plugins leave to the reader, a red item says itself: which function of the
feature pipeline (file and line) made the first value that differs, whether putting the expected
value back makes the scores agree again, and the command that shows it once more.
"""
