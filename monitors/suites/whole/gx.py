"""The border to Great Expectations: writes a suite, and runs one over a frame as a checkpoint.

Nothing else of the house imports it. It runs in an ephemeral context, in memory; no account, no
network, no statistics to anyone.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from consistency.errors import ConfigError
from consistency.jsontype import Json
from monitors.suites.specs import SuiteSpec

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations import ExpectationSuite
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

_NAME: Final = "samescore"
_POSITION: Final = "samescore_position"
"""Where an expectation of a run carries its place in the suite; GX has an order of its own."""


@dataclass(frozen=True, slots=True)
class ExpectationOutcome:
    """What Great Expectations says of one expectation.

    Attributes:
        position: in the suite, from 0.
        kind: its type; kwargs: its arguments.
        success: of the batch, `mostly` considered.
        unexpected: positions of the rows that break it; empty for an expectation about a batch.
        observed: what was seen of the batch, as JSON types; None for an expectation about rows.
        problem: what GX raised instead of a verdict, or "".
    """

    position: int
    kind: str
    kwargs: Mapping[str, Json]
    success: bool
    unexpected: tuple[int, ...] = ()
    observed: Json = None
    problem: str = ""


def suite_json(spec: SuiteSpec) -> dict[str, Json]:
    """Let Great Expectations make a suite, and return its JSON.

    Raises:
        ConfigError: it is not installed.
    """
    made = [
        _configuration(type=e.kind, kwargs=dict(e.kwargs), meta=e.meta).to_domain_obj()
        for e in spec.expectations
    ]
    suite = import_gx().ExpectationSuite(name=spec.name, expectations=made, meta=dict(spec.meta))
    held: dict[str, Json] = suite.to_json_dict()
    return held


def run_checkpoint(suite: Mapping[str, Json], frame: pd.DataFrame) -> list[ExpectationOutcome]:
    """Validate a frame with a suite, as a checkpoint, and return one outcome an expectation.

    Args:
        suite: the suite's JSON.
        frame: object columns, index 0 to N − 1.

    Raises:
        ConfigError: Great Expectations is not installed, or cannot read the suite.
    """
    gx = import_gx()
    loaded = load_suite(suite)
    context = ephemeral_context()
    source = context.data_sources.add_pandas(_NAME)
    batch = source.add_dataframe_asset(_NAME).add_batch_definition_whole_dataframe(_NAME)
    held = context.suites.add(loaded)
    validation = context.validation_definitions.add(
        gx.ValidationDefinition(name=_NAME, data=batch, suite=held)
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name=_NAME,
            validation_definitions=[validation],
            result_format={"result_format": "COMPLETE"},
        )
    )
    result = quiet_run(checkpoint, frame)
    (run,) = result.run_results.values()
    outcomes = [_outcome(r.to_json_dict()) for r in run.results]
    return sorted(outcomes, key=lambda o: o.position)


def quiet_run(checkpoint: Any, frame: pd.DataFrame, **options: Any) -> Any:  # noqa: ANN401 - GX
    """Run a checkpoint over a frame; what pandas wonders about on the way is nobody's concern."""
    with warnings.catch_warnings():
        # whether a pattern with groups should have extracted them
        warnings.filterwarnings("ignore", "This pattern is interpreted", UserWarning)
        # a sum beyond float64 is infinite, and inf - inf is NaN: what the rules expect anyway
        warnings.filterwarnings("ignore", "(overflow|invalid value) encountered", RuntimeWarning)
        return checkpoint.run(batch_parameters={"dataframe": frame}, **options)


def _outcome(result: Mapping[str, Any]) -> ExpectationOutcome:
    config, found = result["expectation_config"], result["result"]
    return ExpectationOutcome(
        position=config["meta"][_POSITION],
        kind=config["type"],
        kwargs={k: v for k, v in config["kwargs"].items() if k != "batch_id"},
        success=bool(result["success"]),
        unexpected=tuple(map(int, found.get("unexpected_index_list") or ())),
        observed=_plain(found.get("observed_value")),
        problem=_problem(result.get("exception_info") or {}),
    )


def _plain(value: object) -> Json:
    """Return numpy's scalars and whatever else GX observed as JSON types."""
    return orjson.loads(orjson.dumps(value, default=str, option=orjson.OPT_SERIALIZE_NUMPY))


def _problem(info: Mapping[str, Any]) -> str:
    """Return the last line of what was raised; GX nests it by metric, or does not."""
    raised = [info] if "raised_exception" in info else list(info.values())
    for one in raised:
        if one.get("raised_exception"):
            return str(one.get("exception_message") or "an exception without a message")
    return ""


def load_suite(suite: Mapping[str, Json]) -> ExpectationSuite:
    """Build a suite; ids are left out, since a context of its own gives new ones.

    Raises:
        ConfigError: Great Expectations is not installed, or cannot read the suite.
    """
    # Each expectation by itself: a suite that is given their JSON drops what it cannot read, and
    # says so only in a log.
    made = []
    for position, held in enumerate(suite["expectations"]):
        facts = {k: v for k, v in held.items() if k != "id"}
        facts["meta"] = {**(facts.get("meta") or {}), _POSITION: position}
        try:
            made.append(_configuration(**facts).to_domain_obj())
        except Exception as e:
            raise ConfigError(
                f"suite {suite['name']!r}: GX cannot read expectation {position} "
                f"({held['type']}): {_first_line(e)}"
            ) from e
    loaded: ExpectationSuite = import_gx().ExpectationSuite(name=suite["name"], expectations=made)
    return loaded


def _configuration(**facts: Json) -> ExpectationConfiguration:
    import_gx()
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    return ExpectationConfiguration(**facts)


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def ephemeral_context() -> Any:  # noqa: ANN401 - GX's contexts share no useful public type
    """Return a context in memory, without progress bars.

    Raises:
        ConfigError: Great Expectations is not installed.
    """
    context = import_gx().get_context(mode="ephemeral")
    context.enable_analytics(False)
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    return context


def import_gx() -> Any:  # noqa: ANN401 - a module whose public names GX assembles at run time
    """Return the package, silent and without statistics.

    Raises:
        ConfigError: Great Expectations is not installed.
    """
    # GX 1.24 has no code that sends statistics; earlier 1.x had, and read this when imported.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    try:
        with warnings.catch_warnings():
            # what its imports say of their own future is nobody's concern here
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            import great_expectations as gx
    except ModuleNotFoundError as e:
        raise ConfigError(f"this needs the package {e.name!r}; pip install 'samescore[gx]'") from e
    except SystemExit as e:
        # PySpark ends a process whose main program is no file where its own extras are missing.
        raise ConfigError(
            "PySpark does not let Great Expectations be imported here; "
            "pip install googleapis-common-protos grpcio-status zstandard"
        ) from e
    # This one sets itself to INFO, and tells of a temporary folder for every context.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    return gx
