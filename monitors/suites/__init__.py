"""Expectation suites on the request path: a Great Expectations suite, compiled to a guard.

`value_tests.py` judges one value, `compiler.py` turns a suite's JSON into rules, `guard.py` runs
them before the backend, `profile.py` and `builder.py` learn a suite from training records: pure
Python, without Great Expectations. Only `gx.py` imports it: to write a suite, and to run one as a
checkpoint, which `checking.py` does over a request log.
"""

from monitors.suites.compiler import CompiledSuite, compile_suite, read_suite
from monitors.suites.guard import Action, SuiteGuard, SuitePolicy

__all__ = [
    "Action",
    "CompiledSuite",
    "SuiteGuard",
    "SuitePolicy",
    "compile_suite",
    "read_suite",
]
