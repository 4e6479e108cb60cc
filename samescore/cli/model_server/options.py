"""Flags of `samescore model-server` for what versions go through, and for what is counted."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

import click

from samescore.cli.model_server.tfs_flags import NOT_NEGATIVE, POSITIVE, F, Switch, switch
from samescore.model_server.loading import LoadingSettings
from samescore.model_server.monitoring import MonitoringSettings
from serving.loaders.runtimes.threads import cores
from serving.model_server.batching.parameters import BatchingParameters, read_batching_parameters
from serving.model_server.observing.monitoring_page import read_monitoring_path
from serving.model_server.status import invalid


class LoadingFlags(TypedDict):
    """What can be told, as click gives it."""

    enable_batching: bool
    batching_parameters_file: str
    enable_per_model_batching_parameters: bool
    enable_model_warmup: bool
    num_request_iterations_for_warmup: int
    prefer_tflite_model: bool
    use_tflite_model: bool
    num_tflite_pools: int
    num_tflite_interpreters_per_pool: int
    monitoring_config_file: str
    metrics_per_version: bool
    enable_profiler: bool | None


_OPTIONS = (
    switch("enable_batching", False, "Requests for the same tensors run together."),
    click.option("--batching_parameters_file", default="", metavar="PATH",
                 help="Text BatchingParameters; with --enable_batching."),
    switch("enable_per_model_batching_parameters", False,
           "Each model's folder has parameters of its own, batching_params.pbtxt, or its requests "
           "run alone."),
    switch("enable_model_warmup", True,
           "Run assets.extra/tf_serving_warmup_requests before a version serves."),
    click.option("--num_request_iterations_for_warmup", type=NOT_NEGATIVE, default=0,
                 show_default=True, help="How often each of them; 0: once."),
    switch("prefer_tflite_model", False, "Take model.tflite where a version has one."),
    switch("use_tflite_model", False, "And refuse a version without."),
    click.option("--num_tflite_pools", type=NOT_NEGATIVE, default=0, show_default=True,
                 help="TensorFlow Lite requests side by side; 0: one a processor."),
    click.option("--num_tflite_interpreters_per_pool", type=POSITIVE, default=1,
                 show_default=True, help="Times so many."),
    click.option("--monitoring_config_file", default="", metavar="PATH",
                 help="Text MonitoringConfig: a Prometheus page on the HTTP port."),
    switch("metrics_per_version", False, "And metrics by version and signature on it."),
    click.option("--enable_profiler", type=Switch(), default=None, is_flag=False,
                 flag_value="true",
                 help="TensorFlow's ProfilerService, which writes files where its client says.  "
                      "[default: true on loopback alone, else false]"),
)  # fmt: skip


def loading_options(function: F) -> F:
    """Add the flags."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def loading_settings(flags: LoadingFlags) -> LoadingSettings:
    """Return what the flags say.

    Raises:
        StatusError: they contradict each other, or a file that they name is unusable.
    """
    warmup = max(flags["num_request_iterations_for_warmup"], 1)
    return LoadingSettings(
        prefer_tflite=flags["prefer_tflite_model"],
        only_tflite=flags["use_tflite_model"],
        tflite_interpreters=_interpreters(flags),
        batching=_batching(flags),
        per_model_batching=flags["enable_per_model_batching_parameters"],
        warmup_iterations=warmup if flags["enable_model_warmup"] else 0,
    )


def _interpreters(flags: LoadingFlags) -> int:
    return (flags["num_tflite_pools"] or cores()) * flags["num_tflite_interpreters_per_pool"]


def _batching(flags: LoadingFlags) -> BatchingParameters | None:
    file = flags["batching_parameters_file"]
    if flags["enable_batching"]:
        return read_batching_parameters(Path(file)) if file else BatchingParameters()
    if file:
        raise invalid(
            "server_options.batching_parameters_file is set without setting "
            "server_options.enable_batching to true."
        )
    return None


def monitoring_settings(flags: LoadingFlags) -> MonitoringSettings:
    """Return what the flags say.

    Raises:
        StatusError: the file is unusable.
        UsageError: a flag that needs the page is given without it.
    """
    file = flags["monitoring_config_file"]
    path = read_monitoring_path(Path(file)) if file else None
    if flags["metrics_per_version"] and path is None:
        raise click.UsageError(
            "--metrics_per_version needs a page; give --monitoring_config_file a file with "
            "prometheus_config { enable: true }"
        )
    return MonitoringSettings(path, per_version=flags["metrics_per_version"])
