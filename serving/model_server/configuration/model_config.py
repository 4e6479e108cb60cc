"""Reads and checks a `ModelServerConfig`, the file and the message alike, in upstream's words.

Only the model server loads this module: it imports the stubs, and with them TensorFlow.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tensorflow_serving.config import model_server_config_pb2
from tensorflow_serving.config.file_system_storage_path_source_pb2 import (
    FileSystemStoragePathSourceConfig,
)

from serving.core.policy import (
    AllVersions,
    LatestVersions,
    NoVersions,
    SpecificVersions,
    VersionPolicy,
)
from serving.model_server.status import Code, StatusError, invalid
from serving.model_server.wire.text_protos import read_text_proto

TENSORFLOW: Final = "tensorflow"
"""The platform of a SavedModel, and of a model given on the command line."""

MOST_MODELS: Final = 10_000
"""In one configuration."""

MOST_LABELS: Final = 100_000
"""Of all models of one configuration together."""

_FILE_SCHEME: Final = "file://"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One model of a configuration that was checked.

    Attributes:
        base_path: of its versions.
        platform: what loads it.
        policy: which of its versions are served.
        labels: by label, the version.
    """

    name: str
    base_path: Path
    platform: str
    policy: VersionPolicy
    labels: Mapping[str, int]


def read_config(path: Path) -> model_server_config_pb2.ModelServerConfig:
    """Return the configuration in a file in protobuf's text format.

    Raises:
        StatusError: the file cannot be read, is too large, or is no configuration; it says where.
    """
    try:
        return read_text_proto(path, model_server_config_pb2.ModelServerConfig)
    except RecursionError as error:
        raise invalid(f"Invalid protobuf file: '{path}': it is nested too deeply") from error


def single_model(name: str, base_path: str) -> model_server_config_pb2.ModelServerConfig:
    """Return the configuration of the flags `--model_name` and `--model_base_path`."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.add(name=name, base_path=base_path, model_platform=TENSORFLOW)
    return config


def check_list(models: Collection[model_server_config_pb2.ModelConfig]) -> None:
    """Refuse a list that names a model twice, a relative path, or too much.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    if len(models) > MOST_MODELS:
        raise invalid(f"{len(models)} models in one config, the limit is {MOST_MODELS}")
    labels = sum(len(model.version_labels) for model in models)
    if labels > MOST_LABELS:
        raise invalid(f"{labels} version labels in one config, the limit is {MOST_LABELS}")
    names: set[str] = set()
    for model in models:
        if model.name in names:
            raise invalid(f"Illegal to list model {model.name} multiple times in config list")
        names.add(model.name)
    for model in models:
        if not _is_absolute(model.base_path):
            raise invalid(
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}"
            )


def check_platforms_stay(
    old: Mapping[str, str], models: Iterable[model_server_config_pb2.ModelConfig]
) -> None:
    """Refuse that a model changes its platform.

    Args:
        old: by model, its platform until now.
        models: the new list.

    Raises:
        StatusError: INVALID_ARGUMENT.
    """
    for model in models:
        if model.name not in old:
            continue
        new = platform_of(model)
        if new != old[model.name]:
            raise invalid(
                f"Illegal to change a model's platform. For model {model.name} platform was "
                f"{old[model.name]} and new platform requested is {new}"
            )


def platform_of(model: model_server_config_pb2.ModelConfig) -> str:
    """Return a model's platform, which may be given by the deprecated `model_type`.

    Raises:
        StatusError: INVALID_ARGUMENT: neither is given, or both are, or the type is not supported.
    """
    platform = str(model.model_platform)
    if model.model_type != model_server_config_pb2.ModelType.MODEL_TYPE_UNSPECIFIED:
        if platform:
            raise invalid(
                "Illegal setting both ModelServerConfig::model_type (deprecated) "
                "and ModelServerConfig::model_platform."
            )
        if model.model_type != model_server_config_pb2.ModelType.TENSORFLOW:
            raise invalid(f"ModelServerConfig::model_type choice {model.model_type} not supported.")
        return TENSORFLOW
    if not platform:
        raise invalid(
            "Illegal setting neither ModelServerConfig::model_type (deprecated) "
            "nor ModelServerConfig::model_platform."
        )
    return platform


def entries(
    models: Iterable[model_server_config_pb2.ModelConfig], platforms: Collection[str]
) -> tuple[ModelEntry, ...]:
    """Return the models of a list that was checked.

    Args:
        models: the list.
        platforms: what can be loaded here.

    Raises:
        StatusError: INVALID_ARGUMENT: a platform is missing or not supported.
    """
    return tuple(_entry(model, platforms) for model in models)


def _entry(model: model_server_config_pb2.ModelConfig, platforms: Collection[str]) -> ModelEntry:
    platform = platform_of(model)
    if platform not in platforms:
        raise invalid(f"Model {model.name} requests unsupported platform {platform}")
    return ModelEntry(
        name=model.name,
        base_path=_path(model),
        platform=platform,
        policy=version_policy(model.model_version_policy),
        labels=dict(model.version_labels),
    )


def version_policy(
    choice: FileSystemStoragePathSourceConfig.ServableVersionPolicy,
) -> VersionPolicy:
    """Return the policy that a configuration chooses; the newest version when it says nothing."""
    kind = choice.WhichOneof("policy_choice")
    if kind == "all":
        return AllVersions()
    if kind == "specific":
        versions = frozenset(choice.specific.versions)
        return SpecificVersions(versions) if versions else NoVersions()
    return LatestVersions(max(choice.latest.num_versions, 1))


def model_list(
    config: model_server_config_pb2.ModelServerConfig, *, is_first: bool
) -> tuple[model_server_config_pb2.ModelConfig, ...] | None:
    """Return the models of a configuration; None where there is nothing to do, and a later one may.

    Args:
        config: any.
        is_first: no list came into force before it.

    Raises:
        StatusError: FAILED_PRECONDITION: after a list only a list may follow. UNIMPLEMENTED: it is
            a custom configuration.
    """
    kind = config.WhichOneof("config")
    if not is_first and kind != "model_config_list":
        raise StatusError(
            Code.FAILED_PRECONDITION,
            "Cannot transition to requested config. It is only legal to transition "
            "from one ModelConfigList to another.",
        )
    if kind == "custom_model_config":
        raise StatusError(
            Code.UNIMPLEMENTED, "ModelServer does not yet support custom model config."
        )
    return None if kind is None else tuple(config.model_config_list.config)


def _is_absolute(base_path: str) -> bool:
    """Tell what upstream calls an absolute path or URI: `/a`, `scheme://host/a`."""
    scheme, colon, _ = base_path.partition("://")
    return base_path.startswith("/") or (bool(colon) and scheme.isascii() and scheme.isalnum())


def _path(model: model_server_config_pb2.ModelConfig) -> Path:
    path = str(model.base_path).removeprefix(_FILE_SCHEME)
    if not path.startswith("/") or "\0" in path:
        raise invalid(
            f"Model {model.name} requests unsupported base path {model.base_path!r}: only paths of "
            "this machine's file systems can be served; mount or copy the folder"
        )
    return Path(path)
