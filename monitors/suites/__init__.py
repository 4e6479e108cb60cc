"""Expectation suites on the request path: a Great Expectations suite, compiled to a guard.

`building/` learns a suite from training records, `merging.py` keeps what people edit, `compiled/`
turns its JSON into plain functions and runs them before the backend: all that without Great
Expectations. `whole/` uses it, to run a suite as a checkpoint over a log or a file and to write its
pages. What the rooms share stands here: how a rule is named, its level and its policy.
"""

from monitors.suites.compiled.compiler import CompiledSuite, compile_suite, read_suite
from monitors.suites.compiled.guard import Action, SuiteGuard, SuitePolicy

__all__ = [
    "Action",
    "CompiledSuite",
    "SuiteGuard",
    "SuitePolicy",
    "compile_suite",
    "read_suite",
]
