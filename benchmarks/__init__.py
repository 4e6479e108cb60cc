"""Budgets and peers, measured side by side in one run: `python -m benchmarks`.

`budgets.py` says what is measured and what it may cost, `results.py` is the record, `workload.py`
trains the models and reads the flights; `serving.py`, `logged.py` (with `replayed.py`),
`pipelines.py` and `imports.py` measure. `bare_app.py` is the peer of the server, `client.py` the
client of both, `processes.py` starts them.
"""
