import pytest

from serving.model_server.configuration.labels import assigned, version_of
from serving.model_server.status import Code, StatusError

CURRENT = {"m": {"stable": 1}}


@pytest.mark.parametrize(
    ("wanted", "allow_unavailable"),
    [
        pytest.param({"m": {"stable": 1, "canary": 2}}, False, id="both are available"),
        pytest.param({"m": {"stable": 2}}, False, id="a label moves"),
        pytest.param({}, False, id="all labels go"),
        pytest.param({"m": {"canary": 77}}, True, id="a new label may name what is not there"),
        pytest.param({"n": {"stable": 5}}, True, id="on an unknown model, too"),
    ],
)
def test_labels_are_replaced(wanted: dict[str, dict[str, int]], allow_unavailable: bool) -> None:
    available = {"m": {1, 2}}
    assert assigned(wanted, CURRENT, available, allow_unavailable=allow_unavailable) == wanted


@pytest.mark.parametrize(
    ("wanted", "allow_unavailable", "model", "version"),
    [
        pytest.param({"m": {"stable": 77}}, False, "m", 77, id="not there"),
        pytest.param({"n": {"stable": 1}}, False, "n", 1, id="a model that is not there"),
        pytest.param({"m": {"stable": 77}}, True, "m", 77, id="a label that moves is checked"),
    ],
)
def test_a_label_names_what_is_available(
    wanted: dict[str, dict[str, int]], allow_unavailable: bool, model: str, version: int
) -> None:
    with pytest.raises(StatusError) as caught:
        assigned(wanted, CURRENT, {"m": {1, 2}}, allow_unavailable=allow_unavailable)
    assert (caught.value.code, caught.value.message) == (
        Code.FAILED_PRECONDITION,
        (
            f"Request to assign label to version {version} of model {model}, "
            "which is not currently available for inference"
        ),
    )


def test_a_label_that_stays_where_it_is_needs_no_check_when_that_is_allowed() -> None:
    assert assigned(CURRENT, CURRENT, {}, allow_unavailable=True) == CURRENT
    with pytest.raises(StatusError):
        assigned(CURRENT, CURRENT, {}, allow_unavailable=False)


def test_a_label_is_looked_up() -> None:
    assert version_of(CURRENT, "m", "stable") == 1
    for model, label in (("m", "nope"), ("n", "stable")):
        with pytest.raises(StatusError, match=f"^Unrecognized servable version label: {label}$"):
            version_of(CURRENT, model, label)
