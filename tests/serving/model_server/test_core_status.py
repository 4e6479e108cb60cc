import pytest
from tensorflow_serving.apis.model_pb2 import ModelSpec

from consistency.errors import BundleError
from serving.core.resources import InsufficientResourcesError
from serving.core.state import ManagerState, ServableId, VersionStatus
from serving.model_server.core_status import check_arrived, describe, status_response
from serving.model_server.status import Code, StatusError

pytestmark = pytest.mark.slow  # the stubs import TensorFlow

END, AVAILABLE = ManagerState.END, ManagerState.AVAILABLE
STATUSES = [
    VersionStatus(ServableId("m", 3), END, "Read less bytes than requested", 11),
    VersionStatus(ServableId("m", 2), AVAILABLE),
    VersionStatus(ServableId("m", 1), END, "unloaded with 2 requests still in flight"),
]


def test_every_version_is_told_with_its_error() -> None:
    response = status_response(ModelSpec(name="m", version_label="whatever"), STATUSES)
    told = [
        (s.version, s.state, s.status.error_code, s.status.error_message)
        for s in response.model_version_status
    ]
    assert told == [
        (3, 50, 11, "Read less bytes than requested"),
        (2, 30, 0, ""),
        (1, 50, 2, "unloaded with 2 requests still in flight"),
    ]


def test_one_version_can_be_asked_for() -> None:
    spec = ModelSpec(name="m")
    spec.version.value = 2
    assert [s.version for s in status_response(spec, STATUSES).model_version_status] == [2]


@pytest.mark.parametrize(
    ("version", "message"),
    [(5, "Could not find version 5 of model m"), (None, "Could not find any versions of model m")],
)
def test_what_was_never_there_is_not_found(version: int | None, message: str) -> None:
    spec = ModelSpec(name="m")
    if version is not None:
        spec.version.value = version
    with pytest.raises(StatusError) as caught:
        status_response(spec, [])
    assert (caught.value.code, caught.value.message) == (Code.NOT_FOUND, message)


def test_failures_of_a_start_are_told_in_upstreams_words() -> None:
    with pytest.raises(StatusError) as caught:
        check_arrived({"n": None, "m": STATUSES[0], "a": STATUSES[1]}, "servable")
    assert (caught.value.code, caught.value.message) == (
        Code.UNKNOWN,
        (
            "1 servable(s) did not become available: {{{name: m version: 3} due to error: "
            "OUT_OF_RANGE: Read less bytes than requested}, }"
        ),
    )
    check_arrived({"a": STATUSES[1]}, "servable")
    with pytest.raises(StatusError, match="removed: n") as caught:
        check_arrived({"a": STATUSES[1], "n": None}, "model")
    assert caught.value.code is Code.ABORTED


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (StatusError(Code.NOT_FOUND, "no such"), Code.NOT_FOUND, "no such"),
        (BundleError("/b", "torn"), Code.FAILED_PRECONDITION, "bundle /b: torn"),
        (KeyError("x"), Code.UNKNOWN, "KeyError: 'x'"),
        (
            InsufficientResourcesError(ServableId("m", 1), 5, 4, 9),
            Code.RESOURCE_EXHAUSTED,
            (
                "Insufficient resources to load servable {name: m version: 1}: it needs about 5 "
                "bytes (size on disk × 1.2), 4 of 9 are free; "
                "raise the limit or serve fewer versions"
            ),
        ),
    ],
)
def test_an_error_is_kept_as_code_and_text(error: Exception, code: Code, text: str) -> None:
    assert describe(error) == (code, text)
