from pathlib import Path

import pytest
from google.protobuf import text_format
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.core.policy import (
    AllVersions,
    LatestVersions,
    NoVersions,
    SpecificVersions,
    VersionPolicy,
)
from serving.model_server.configuration import model_config
from serving.model_server.status import Code, StatusError

pytestmark = pytest.mark.slow  # the stubs import TensorFlow

TESTDATA = Path(__file__).parents[3] / "data/tfs/testdata"

# The spelling of tutorials: colons before braces, commas after values, comments.
TUTORIAL = """
model_config_list:{
    config:{
      name:"model1",
      base_path:"/models/multiModel/model1",
      model_platform:"tensorflow",
      model_version_policy:{
        all:{}
      }
    },
    # 第二个模型
    config:{
      name:"model2",
      base_path:"/models/multiModel/model2",
      model_platform:"tensorflow"
    }
}
"""


def config(*models: str) -> ModelServerConfig:
    text = "model_config_list {" + "".join(f"config {{ {model} }}" for model in models) + "}"
    return text_format.Parse(text, ModelServerConfig())


def checked(written: ModelServerConfig, old: dict[str, str] | None = None) -> list[str]:
    models = model_config.model_list(written, is_first=not old)
    assert models is not None
    model_config.check_list(models)
    model_config.check_platforms_stay(old or {}, models)
    return [entry.name for entry in model_config.entries(models, {"tensorflow"})]


def refusal(*models: str, old: dict[str, str] | None = None) -> str:
    with pytest.raises(StatusError) as caught:
        checked(config(*models), old)
    assert caught.value.code is Code.INVALID_ARGUMENT
    return caught.value.message


def test_the_spelling_of_tutorials_is_read(tmp_path: Path) -> None:
    file = tmp_path / "models.config"
    file.write_text(TUTORIAL)
    models = model_config.model_list(model_config.read_config(file), is_first=True)
    assert models is not None
    first, second = model_config.entries(models, {"tensorflow"})
    assert (first.name, first.base_path, first.policy) == (
        "model1",
        Path("/models/multiModel/model1"),
        AllVersions(),
    )
    assert (second.platform, second.policy, second.labels) == ("tensorflow", LatestVersions(1), {})


def test_upstreams_own_files_are_read_or_refused(tmp_path: Path) -> None:
    good = model_config.read_config(TESTDATA / "good_model_config.txt")
    assert [m.name for m in good.model_config_list.config] == ["half_plus_two", "half_plus_three"]
    bad = TESTDATA / "bad_model_config.txt"
    with pytest.raises(StatusError) as caught:
        model_config.read_config(bad)
    assert caught.value.message.startswith(f"Invalid protobuf file: '{bad}'")
    with pytest.raises(StatusError) as caught:
        model_config.read_config(tmp_path / "nope")
    assert caught.value.code is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("written", "policy"),
    [
        ("", LatestVersions(1)),
        ("model_version_policy { }", LatestVersions(1)),
        ("model_version_policy { latest { } }", LatestVersions(1)),
        ("model_version_policy { latest { num_versions: 3 } }", LatestVersions(3)),
        ("model_version_policy { latest { num_versions: 0 } }", LatestVersions(1)),
        ("model_version_policy { all { } }", AllVersions()),
        (
            "model_version_policy { specific { versions: 1 versions: 123 } }",
            SpecificVersions(frozenset({1, 123})),
        ),
        ("model_version_policy { specific { } }", NoVersions()),
    ],
)
def test_a_version_policy_is_read(written: str, policy: VersionPolicy) -> None:
    (model,) = config(written).model_config_list.config
    assert model_config.version_policy(model.model_version_policy) == policy


GOOD = 'name: "m" base_path: "/models/m" model_platform: "tensorflow"'


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([GOOD, GOOD], "Illegal to list model m multiple times in config list"),
        (
            ['name: "m" base_path: "models/m" model_platform: "tensorflow"'],
            "Expected model m to have an absolute path or URI; got base_path()=models/m",
        ),
        (
            ['name: "m" model_platform: "tensorflow"'],
            "Expected model m to have an absolute path or URI; got base_path()=",
        ),
        (
            ['name: "m" base_path: "/m" model_platform: "caffe"'],
            "Model m requests unsupported platform caffe",
        ),
        (
            ['name: "m" base_path: "/m"'],
            (
                "Illegal setting neither ModelServerConfig::model_type (deprecated) "
                "nor ModelServerConfig::model_platform."
            ),
        ),
        (
            [GOOD + " model_type: TENSORFLOW"],
            (
                "Illegal setting both ModelServerConfig::model_type (deprecated) "
                "and ModelServerConfig::model_platform."
            ),
        ),
        (
            ['name: "m" base_path: "/m" model_type: OTHER'],
            "ModelServerConfig::model_type choice 2 not supported.",
        ),
    ],
)
def test_what_is_wrong_is_told_in_upstreams_words(models: list[str], message: str) -> None:
    assert refusal(*models) == message


def test_a_model_keeps_its_platform() -> None:
    assert refusal(GOOD, old={"m": "samescore"}) == (
        "Illegal to change a model's platform. For model m platform was samescore "
        "and new platform requested is tensorflow"
    )
    assert checked(config(GOOD), {"m": "tensorflow", "n": "samescore"}) == ["m"]


@pytest.mark.parametrize("path", ["gs://bucket/m", r"/nu\000ll", "hdfs://host/m"])
def test_a_path_that_nobody_can_read_here_is_refused(path: str) -> None:
    message = refusal(f'name: "m" base_path: "{path}" model_platform: "tensorflow"')
    assert "Model m requests unsupported base path" in message


def test_a_file_uri_is_a_path() -> None:
    models = config('name: "m" base_path: "file:///m" model_type: TENSORFLOW')
    (entry,) = model_config.entries(models.model_config_list.config, {"tensorflow"})
    assert (entry.base_path, entry.platform) == (Path("/m"), "tensorflow")


def test_sizes_are_bounded() -> None:
    many = ModelServerConfig()
    for number in range(model_config.MOST_MODELS + 1):
        many.model_config_list.config.add(name=str(number), base_path="/m")
    with pytest.raises(StatusError, match="10001 models in one config, the limit is 10000"):
        checked(many)
    labelled = config(GOOD)
    labels = labelled.model_config_list.config[0].version_labels
    labels.update({str(number): 1 for number in range(model_config.MOST_LABELS + 1)})
    with pytest.raises(StatusError, match="version labels in one config"):
        checked(labelled)


def test_the_flags_of_a_single_model() -> None:
    written = model_config.single_model("m", "/models/m")
    assert checked(written) == ["m"]


def test_only_a_list_follows_a_list() -> None:
    custom = ModelServerConfig()
    custom.custom_model_config.SetInParent()
    for later in (ModelServerConfig(), custom):
        with pytest.raises(StatusError, match="Cannot transition to requested config") as caught:
            model_config.model_list(later, is_first=False)
        assert caught.value.code is Code.FAILED_PRECONDITION
    with pytest.raises(StatusError, match="does not yet support custom model config"):
        model_config.model_list(custom, is_first=True)
    assert model_config.model_list(ModelServerConfig(), is_first=True) is None
    assert model_config.model_list(config(), is_first=False) == ()
