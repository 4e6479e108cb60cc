"""The manifest: what a bundle is and what it was made with."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

from consistency.compare import Tolerance
from consistency.digest import digest_json
from consistency.errors import BundleError, ConfigError
from consistency.execution import Execution
from consistency.jsontype import Json
from consistency.postprocess import PostProcess
from consistency.schema import FeatureSchema, RecordSchema

FORMAT: Final = 1
"""Version of the manifest's layout."""

INNER_FOLDER: Final = "samescore"
"""The folder inside a version's directory that model servers ignore."""

MANIFEST_FILE: Final = f"{INNER_FOLDER}/manifest.json"
STATE_FILE: Final = f"{INNER_FOLDER}/state.json"
GOLDEN_FILE: Final = f"{INNER_FOLDER}/golden.parquet"
REFERENCE_FILE: Final = f"{INNER_FOLDER}/reference.json"

_MODEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class PipelineRef:
    """The installed feature pipeline that a bundle was made with.

    Attributes:
        object: ``"package.module:attribute"``.
        package: its top-level package.
        distribution: name and version of the distribution that holds it, for messages.
        digest: of the package's sources.
    """

    object: str
    package: str
    distribution: str
    digest: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle is.

    Attributes:
        name: the model's name.
        version: 0 or more.
        model_format: which loader loads it.
        pipeline: None for a model that is sent feature rows.
        inputs: schema of the raw record; None without a pipeline.
        features: schema of the feature rows.
        execution: how batches reach the model.
        gate_decimals: that the golden gate demands.
        postprocess: from raw outputs to the score.
        snapshots: lookup name to the snapshot id that the golden features were made with.
        state_digest: of the fitted state.
        model_digest: over all model files.
        files: relative path to SHA-256 of every file but the manifest.
        environment: the training environment's record.
        metrics: training metrics by name.
        loss_curve: the training loss, one value a step or epoch.
        created: ISO 8601 time.
    """

    name: str
    version: int
    model_format: str
    pipeline: PipelineRef | None
    inputs: RecordSchema | None
    features: FeatureSchema
    execution: Execution
    gate_decimals: int
    postprocess: PostProcess
    snapshots: Mapping[str, str]
    state_digest: str
    model_digest: str
    files: Mapping[str, str]
    environment: Mapping[str, Json]
    metrics: Mapping[str, float]
    loss_curve: tuple[float, ...]
    created: str

    @property
    def digest(self) -> str:
        """The bundle's identity: all that decides a score, and nothing else."""
        return digest_json({k: self.to_json()[k] for k in _IDENTITY})

    def to_json(self) -> dict[str, Json]:
        """Return JSON types, the inverse of `from_json`."""
        ref = self.pipeline
        return {
            "format": FORMAT,
            "name": self.name,
            "version": self.version,
            "model_format": self.model_format,
            "pipeline": None if ref is None else {k: getattr(ref, k) for k in ref.__slots__},
            "inputs": None if self.inputs is None else self.inputs.to_json(),
            "features": self.features.to_json(),
            "execution": str(self.execution),
            "gate_decimals": self.gate_decimals,
            "postprocess": self.postprocess.to_json(),
            "snapshots": dict(self.snapshots),
            "state_digest": self.state_digest,
            "model_digest": self.model_digest,
            "files": dict(self.files),
            "environment": dict(self.environment),
            "metrics": dict(self.metrics),
            "loss_curve": list(self.loss_curve),
            "created": self.created,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Json], where: object) -> Self:
        """Read a manifest.

        Args:
            value: what `to_json` returned.
            where: the bundle's directory, for messages.

        Raises:
            BundleError: another format, or a field is missing or unusable.
        """
        try:
            if value["format"] != FORMAT:
                raise BundleError(where, f"manifest format {value['format']}, this reads {FORMAT}")
            return cls(**{k: _READERS.get(k, _same)(value[k]) for k in cls.__slots__})
        except (KeyError, TypeError, AttributeError, ValueError, ConfigError) as e:
            problem = f"manifest field {e} is missing" if isinstance(e, KeyError) else str(e)
            raise BundleError(where, f"unusable manifest: {problem}; bundle the model anew") from e


def digest_model(files: Mapping[str, str]) -> str:
    """Return the digest over the model's files: all that do not lie in the inner folder.

    Args:
        files: relative path to SHA-256.
    """
    inner = f"{INNER_FOLDER}/"
    return digest_json({n: d for n, d in files.items() if not n.startswith(inner)})


def check_model_name(name: str) -> str:
    """Return a model's name if it can stand in a path and a URL.

    Raises:
        ConfigError: it cannot.
    """
    if not _MODEL_NAME.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"model name {name!r}: use letters, digits, '.', '_' and '-', beginning with a letter "
            f"or digit, at most 128 characters"
        )
    return name


def check_version(version: object) -> int:
    """Return a model's version if it is an integer from 0 to 2**63 - 1.

    Raises:
        ConfigError: it is not.
    """
    if type(version) is not int or not 0 <= version < 2**63:
        raise ConfigError(f"version {version!r}: give an integer from 0")
    return version


def _same(value: Json) -> Json:
    return value


def _optional(read: Callable[[Json], Json]) -> Callable[[Json], Json]:
    return lambda value: None if value is None else read(value)


_READERS: Final[dict[str, Callable[[Json], Json]]] = {
    "name": check_model_name,
    "version": check_version,
    "pipeline": _optional(lambda v: PipelineRef(**v)),
    "inputs": _optional(RecordSchema.from_json),
    "features": FeatureSchema.from_json,
    "execution": Execution.parse,
    "gate_decimals": lambda v: Tolerance(v).decimals,
    "postprocess": PostProcess.from_json,
    "loss_curve": tuple,
    **dict.fromkeys(("snapshots", "files", "environment", "metrics"), dict),
    **dict.fromkeys(("model_format", "state_digest", "model_digest", "created"), str),
}

_IDENTITY: Final = (
    "name",
    "version",
    "model_format",
    "pipeline",
    "inputs",
    "features",
    "execution",
    "postprocess",
    "state_digest",
    "model_digest",
)
