"""Version labels: names that clients use for versions, and the operator moves. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TypeAlias

from serving.model_server.status import Code, StatusError, invalid

Labels: TypeAlias = Mapping[str, Mapping[str, int]]
"""By model, by label, the version."""


def assigned(
    wanted: Labels,
    current: Labels,
    available: Mapping[str, Collection[int]],
    *,
    allow_unavailable: bool,
) -> Labels:
    """Return the labels that replace the current ones.

    Args:
        wanted: what the new configuration says.
        current: what holds now.
        available: by model, the versions that are AVAILABLE.
        allow_unavailable: a label that is new, or stays where it is, may name any version. One that
            moves still has to name one that is AVAILABLE.

    Raises:
        StatusError: FAILED_PRECONDITION: a label names a version that is not there.
    """
    for model, labels in wanted.items():
        for label, version in labels.items():
            stays = current.get(model, {}).get(label, version) == version
            if version not in available.get(model, ()) and not (allow_unavailable and stays):
                raise StatusError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model {model}, "
                    "which is not currently available for inference",
                )
    return {model: dict(labels) for model, labels in wanted.items()}


def version_of(labels: Labels, model: str, label: str) -> int:
    """Return the version that a label names.

    Raises:
        StatusError: INVALID_ARGUMENT: there is no such label.
    """
    version = labels.get(model, {}).get(label)
    if version is None:
        raise invalid(f"Unrecognized servable version label: {label}")
    return version
