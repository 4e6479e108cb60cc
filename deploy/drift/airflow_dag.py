"""Airflow: judge the requests of each day with `samescore drift run`.

Copy this file into the DAGs folder, and change the paths and the model. Airflow only starts the
command: samescore lives in an environment of its own, so neither can break the other's packages.

What Airflow would get wrong by itself, and what is done about it:

- Exit code 1 is the verdict *drift*, not a failure: a retry would find the same drift, and the run
  would be red although the job did its work. The code is taken in the shell and becomes the task's
  result; the task `tell_drift` runs only when there is drift. Delete it if Alertmanager already
  tells (the metrics do, see docs/drift.md).
- Exit code 2 is unusable input or nothing to judge; another try in a quarter of an hour may find
  the log mounted again. It is retried, and fails after that.
- The window that is judged follows from the DAG run and not from the clock: `--until` is the end of
  the data interval. A run that is cleared and started again judges the same window.
- One run at a time, in order. If two overlap all the same (a manual one), nothing breaks: the
  history takes one judgement after the other.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

SAMESCORE = "/opt/samescore/bin/samescore"
LOG = "/var/lib/samescore/requests"
BUNDLE = "/var/lib/samescore/models/flights/1"
OUT = "/var/lib/samescore/drift"
TEXTFILE = "/var/lib/prometheus/node-exporter/samescore_drift.prom"

# The last line that the task prints is its result: 0 or 1. Everything else ends the shell with the
# command's own code. `set +e`, since a verdict must not end it.
COMMAND = f"""
set +e
{SAMESCORE} drift run {LOG} --bundle {BUNDLE} --window 1d \
  --until '{{{{ data_interval_end.isoformat() }}}}' --out {OUT} --textfile {TEXTFILE} --html
code=$?
[ "$code" -le 1 ] || exit "$code"
echo "$code"
"""


def has_drifted(verdict: str) -> bool:
    """Return whether the exit code that the command left behind says drift."""
    return int(verdict) == 1


with DAG(
    dag_id="samescore_drift",
    description="Judge yesterday's requests against the training distribution",
    # A quarter of an hour after midnight UTC the last window is over and its requests are logged.
    # A timetable of its own, since a plain cron text gives no data interval in Airflow 3.
    schedule=CronDataIntervalTimetable("15 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    # One run makes up for every window that was missed: a hundred runs would all do the same.
    catchup=False,
    max_active_runs=1,
    default_args={
        "retries": 3,
        "retry_delay": timedelta(minutes=15),
        "execution_timeout": timedelta(hours=1),
    },
    tags=["samescore", "drift"],
) as dag:
    judge = BashOperator(
        task_id="judge_windows",
        bash_command=COMMAND,
        # matplotlib keeps a cache of fonts.
        env={"MPLCONFIGDIR": "/tmp"},  # noqa: S108 - nothing secret is in it
        append_env=True,
        do_xcom_push=True,
    )
    if_drifted = ShortCircuitOperator(
        task_id="if_drifted",
        python_callable=has_drifted,
        op_args=[judge.output],
        retries=0,
    )
    tell = BashOperator(
        task_id="tell_drift",
        bash_command=f"echo 'drift: see {OUT} and samescore drift history {OUT}'",
    )
    judge >> if_drifted >> tell
