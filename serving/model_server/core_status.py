"""What the server core tells of versions: states for a client, errors of a start or reload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from tensorflow_serving.apis import get_model_status_pb2, model_pb2

from consistency.errors import SamescoreError
from serving.core.resources import InsufficientResourcesError
from serving.core.state import ManagerState, VersionStatus
from serving.model_server.status import Code, StatusError, not_found

_STATES: Final = {
    state: get_model_status_pb2.ModelVersionStatus.State.Value(state.value)
    for state in ManagerState
}


def describe(error: BaseException) -> tuple[int, str]:
    """Return the code and the text that a version's status keeps of its error."""
    if isinstance(error, StatusError):
        return error.code, error.message
    if isinstance(error, InsufficientResourcesError):
        return Code.RESOURCE_EXHAUSTED, str(error)
    if isinstance(error, SamescoreError):
        return Code.FAILED_PRECONDITION, str(error)
    return Code.UNKNOWN, f"{type(error).__name__}: {error}"


def status_response(
    spec: model_pb2.ModelSpec, statuses: Sequence[VersionStatus]
) -> get_model_status_pb2.GetModelStatusResponse:
    """Return the states of a model's versions, in the order given; a label is not looked at.

    Args:
        spec: names the model, and perhaps one version.
        statuses: of that model, ended versions included.

    Raises:
        StatusError: NOT_FOUND.
    """
    if spec.WhichOneof("version_choice") == "version":
        number = spec.version.value
        statuses = [status for status in statuses if status.id.version == number]
        if not statuses:
            raise not_found(f"Could not find version {number} of model {spec.name}")
    if not statuses:
        raise not_found(f"Could not find any versions of model {spec.name}")
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in statuses:
        told = response.model_version_status.add(
            version=status.id.version, state=_STATES[status.state]
        )
        told.status.error_code = code_of(status)
        told.status.error_message = status.error
    return response


def code_of(status: VersionStatus) -> Code:
    """Return the canonical code of a version's error; OK while there is none."""
    return Code(status.code) if status.code or not status.error else Code.UNKNOWN


def check_arrived(arrived: Mapping[str, VersionStatus | None], kind: str) -> None:
    """Pass if every model that was waited for is AVAILABLE.

    Args:
        arrived: by model, what was decided; None when the waiting was ended.
        kind: what upstream calls them: `servable` at the start, `model` in a reload.

    Raises:
        StatusError: UNKNOWN, with every failure; ABORTED for what is no longer waited for.
    """
    failed = [
        s for s in arrived.values() if s is not None and s.state is not ManagerState.AVAILABLE
    ]
    if failed:
        listed = "".join(_failure(status) for status in sorted(failed, key=lambda s: s.id))
        raise StatusError(
            Code.UNKNOWN, f"{len(failed)} {kind}(s) did not become available: {{{listed}}}"
        )
    gone = sorted(name for name, status in arrived.items() if status is None)
    if gone:
        raise StatusError(
            Code.ABORTED,
            "No longer waiting for what a later config or the end of the server removed: "
            + ", ".join(gone),
        )


def _failure(status: VersionStatus) -> str:
    cause = f" due to error: {code_of(status).name}: {status.error}" if status.error else ""
    return f"{{{{name: {status.id.name} version: {status.id.version}}}{cause}}}, "
