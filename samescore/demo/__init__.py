"""`samescore demo`: the whole path on real flights, each act in a process of its own.

`run.py` is the programme: `acts/`, one module an act, with `traffic/` from clients that alone count
their answers. In `telling/`, `verdict.py` decides on what `summary.py` puts together, and the
report, the plots and the closing table show it.
"""
