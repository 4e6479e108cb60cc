"""The pytest plugin: what a team states in `samescore.toml` becomes items that pytest collects.

`plugin.py` is the entry point and costs next to nothing until there is a configuration;
`configuring/` reads it, `catalogue.py` lists the checks that it asks for, `nodes.py` makes pytest's
items of them, `fresh.py` runs a check in a process of its own, `checks/` are the checks, and
`telling/` says what they found.

What other data-test plugins leave to the reader, a red item says itself: which function of the
feature pipeline (file and line) made the first value that differs, whether putting the expected
value back makes the scores agree again, and the command that shows it once more.
"""
