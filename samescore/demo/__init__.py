"""`samescore demo`: the whole path on real flights, each act in a process of its own.

`run.py` is the programme. `training.py`, `serving.py`, `client.py` (with `traffic.py` and
`wire.py`), `replays.py`, `fault.py` (with `faulty.py`) and `alarm.py` (with `alarm_states.py`,
`prometheus.py` and `steady.py`) are its acts; `figures.py` reads the log;
`verdict.py` decides on what `summary.py` puts together; `report.py`, the plots and `closing.py`
show it.
"""
