"""Which paths are whose."""

from __future__ import annotations

import pytest

from serving.faces.tfs_rest.routes import Call, Route, SilentError, is_handled, parse_target
from serving.model_server.status import StatusError


@pytest.mark.parametrize(
    ("method", "target", "route"),
    [
        ("POST", "/v1/models/m:predict", Route(Call.PREDICT, "m", None, None)),
        ("POST", "/V1/MODELS/m/LABELS/a%20b:regress", Route(Call.REGRESS, "m", None, "a b")),
        ("POST", "/v1/models/a%2Fb%3Ac:classify", Route(Call.CLASSIFY, "a/b:c", None, None)),
        ("GET", "/v1/models", Route(Call.STATUS, "", None, None)),
        ("GET", "/v1/models/m/versions/0007", Route(Call.STATUS, "m", 7, None)),
        ("GET", "/v1/models/m/versions/7/metadata", Route(Call.METADATA, "m", 7, None)),
        ("GET", "/v1/models/m/METADATA", Route(Call.STATUS, "m", None, None)),
        ("GET", "/v1/models/m?x=1", Route(Call.STATUS, "m?x=1", None, None)),
        ("GET", "/v1/models/metadata", Route(Call.STATUS, "metadata", None, None)),
    ],
)
def test_parsed(method: str, target: str, route: Route) -> None:
    assert parse_target(method, target) == route


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "/v1/models/m:predict"), ("POST", "/v1/models/m"), ("POST", "/v1/models/m:PREDICT"),
     ("PUT", "/v1/models/m"), ("HEAD", "/v1/models/m"), ("POST", "/v1/models/m:predict?x=1"),
     ("GET", "/v1/models/m/versions/x"), ("GET", "/v1/models/m/versions/\u0663")],
)  # fmt: skip
def test_malformed(method: str, target: str) -> None:
    with pytest.raises(StatusError, match=r"^Malformed request: ") as caught:
        parse_target(method, target)
    assert caught.value.message.endswith(f"{method} {target}")


def test_a_version_beyond_64_bits_says_nothing() -> None:
    for version in (str(2**63), "9" * 5000):
        with pytest.raises(SilentError):
            parse_target("GET", f"/v1/models/m/versions/{version}")


def test_other_paths() -> None:
    assert not any(map(is_handled, ("/", "/v1", "/v2/models", "/metrics")))
