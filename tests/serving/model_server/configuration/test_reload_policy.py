from pathlib import Path

import pytest

from serving.model_server.configuration.reload_policy import ReloadPolicy
from serving.model_server.status import Code, StatusError


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models" / "half").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    (tmp_path / "models" / "leaves").symlink_to(tmp_path / "secret")
    (tmp_path / "link").symlink_to(tmp_path / "models")
    return tmp_path / "models"


@pytest.mark.parametrize(
    "policy",
    [
        pytest.param(ReloadPolicy(), id="loopback"),
        pytest.param(ReloadPolicy(loopback_only=False, allow_config_reload=True), id="allowed"),
    ],
)
def test_everything_is_allowed(policy: ReloadPolicy) -> None:
    policy.check([Path("/anywhere")])


def test_beyond_loopback_a_reload_is_refused() -> None:
    with pytest.raises(StatusError, match="--allow_config_reload") as caught:
        ReloadPolicy(loopback_only=False).check([])
    assert caught.value.code is Code.PERMISSION_DENIED


def test_folders_can_be_allowed(models: Path) -> None:
    for root in (models, models.parent / "link"):
        policy = ReloadPolicy(loopback_only=False, allowed_base_paths=(Path("/other"), root))
        policy.check([models, models / "half", models / "not" / "yet", models.parent / "link/half"])
        policy.check([])


@pytest.mark.parametrize(
    "path", ["../secret", "leaves", "half/../../secret", "../modelsX", "/", "nu\0ll"]
)
def test_what_lies_elsewhere_is_refused(models: Path, path: str) -> None:
    policy = ReloadPolicy(loopback_only=False, allowed_base_paths=(models,))
    with pytest.raises(StatusError) as caught:
        policy.check([models / "half", models / path])
    assert caught.value.code is Code.PERMISSION_DENIED
