"""Grafana boards as code, built from the metric catalogue.

`promql.py` writes expressions, `panels.py` and `tables.py` panels, `board.py` lays them out with
the variables and links that every board has. `overview.py` and `model.py` are the boards,
`render.py` makes them JSON, `difference.py` compares; all of these are pure. `publish.py` alone
talks to Grafana.
"""
