"""Expectation suites on the request path: a Great Expectations suite, compiled to a guard.

`value_tests.py` judges one value, `row_tests.py` several of a record, `conditions.py` says of
which records a rule speaks; `compiler.py` turns a suite's JSON into rules, `guard.py` runs them
before the backend. `profile.py` and `builder.py` (with `batch_rules.py`, `cross_rules.py`,
`noise.py`) learn a suite from training records, `merging.py` keeps what people edit. All that
without Great Expectations: only `gx.py` and `data_docs.py` use it, to write a suite, to run one as
a checkpoint, which `checking.py` does over a request log, and to write its pages.
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
