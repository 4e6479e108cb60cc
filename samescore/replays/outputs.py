"""Where the results of a replay go besides the terminal: files for people, SQL and Prometheus."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from consistency.errors import ConfigError
from consistency.replay import ReplayReport

REPORT_FILE: Final = "replay.json"
HTML_FILE: Final = "report.html"


@dataclass(frozen=True, slots=True)
class ReplayOutputs:
    """What to write, and where.

    Attributes:
        folder: of `replay.json` and `rows.parquet`; made if it is not there. None: neither.
        html: whether `report.html` goes there too.
        textfile: for node_exporter's textfile collector.
        pushgateway: its URL.
    """

    folder: Path | None = None
    html: bool = False
    textfile: Path | None = None
    pushgateway: str | None = None

    def check(self, log: Path) -> None:
        """Refuse what could not be written, before any work is done.

        Args:
            log: what is replayed; its readers would take `rows.parquet` for a part of it.

        Raises:
            ConfigError: naming the option.
        """
        if self.html and self.folder is None:
            raise ConfigError("--html writes report.html into a folder; name it with --out")
        self._check_libraries()
        if self.folder is not None:
            if self.folder.resolve() == log.resolve():
                raise ConfigError(f"--out {self.folder} is the log itself; name another folder")
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise ConfigError(f"--out {self.folder}: {e.strerror}; name a folder") from e
        if self.textfile is not None or self.pushgateway is not None:
            from monitors.job_exposition import check_pushgateway, check_textfile

            if self.textfile is not None:
                check_textfile(self.textfile)
            if self.pushgateway is not None:
                check_pushgateway(self.pushgateway)

    def write(self, report: ReplayReport, now_s: float) -> None:
        """Write all but the rows, which were written as they came.

        Args:
            report: of the replay.
            now_s: when it ended, in seconds since the epoch.

        Raises:
            ConfigError, MonitorError: something cannot be written.
        """
        if self.folder is not None:
            options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
            _write(self.folder / REPORT_FILE, orjson.dumps(report.to_json(), option=options))
            if self.html:
                from samescore.replays.report import render_report

                _write(self.folder / HTML_FILE, render_report(report).encode())
        self._export(report, now_s)

    def _check_libraries(self) -> None:
        needed = ["jinja2", "matplotlib"] * self.html
        needed += ["prometheus_client"] * (
            self.textfile is not None or self.pushgateway is not None
        )
        missing = [name for name in needed if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(
                f"these outputs need {', '.join(missing)}; pip install 'samescore[drift]'"
            )

    def _export(self, report: ReplayReport, now_s: float) -> None:
        """Write the metrics; of a replay of nothing there are none, and their age says so."""
        if not report.models or (self.textfile is None and self.pushgateway is None):
            return
        from monitors.job_exposition import write_textfile
        from monitors.replay_metrics import push, replay_metrics

        if self.textfile is not None:
            write_textfile(self.textfile, replay_metrics(report, now_s))
        if self.pushgateway is not None:
            push(self.pushgateway, report, now_s)


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as e:
        raise ConfigError(f"{path}: {e.strerror}; name a writable folder with --out") from e
