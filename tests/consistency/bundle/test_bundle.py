from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from consistency.bundle import (
    Bundle,
    BundleContent,
    GoldenSet,
    Manifest,
    PipelineRef,
    bind_pipeline,
    open_bundle,
    verify_files,
    write_bundle,
)
from consistency.bundle import writer as bundle_writer
from consistency.bundle.manifest import check_model_name, check_version
from consistency.bundle.reader import distribution_of, import_pipeline, load_pipeline_object
from consistency.digest import digest_sources
from consistency.errors import BundleError, ConfigError, DigestMismatchError, SnapshotError
from consistency.execution import Execution
from consistency.postprocess import Platt, PostProcess
from consistency.snapshots import SnapshotStore
from serving.core.source import FileSystemSource
from tests.fixtures.tiny import PACKAGE, Tiny

ROOT = Path(__file__).parents[3]


def content_of(tiny: Tiny, **changes: Any) -> BundleContent:
    """What went into the tiny bundle, to be written again."""
    bundle = open_bundle(tiny.bundle)
    manifest = bundle.manifest
    plain = BundleContent(
        name=manifest.name,
        version=manifest.version,
        model_format=manifest.model_format,
        model=tiny.bundle / "model.ubj",
        model_file="model.ubj",
        features=manifest.features,
        golden=bundle.golden(),
        state=bundle.state(),
        pipeline=manifest.pipeline,
        inputs=manifest.inputs,
        snapshots=manifest.snapshots,
        reference=bundle.reference(),
    )
    return replace(plain, **changes)


def files(base: Path) -> list[str]:
    return sorted(p.relative_to(base).as_posix() for p in base.rglob("*") if p.is_file())


@pytest.fixture
def copy(tiny: Tiny, tmp_path: Path) -> Bundle:
    """A copy of the tiny bundle, to be damaged."""
    shutil.copytree(tiny.bundle, tmp_path / "tiny" / "1")
    return open_bundle(tmp_path / "tiny" / "1")


# ------------------------------------------------------------------------------------------ writing


def test_a_bundle_comes_back_as_it_was_written(tiny: Tiny, tmp_path: Path) -> None:
    content = content_of(
        tiny,
        version=7,
        execution=Execution.parse("padded:16"),
        gate_decimals=8,
        postprocess=PostProcess("p", 1, Platt(1.5, -0.25)),
        metrics={"auc": 0.1 + 0.2},
        loss_curve=(0.5, 1 / 3),
    )
    path = write_bundle(tmp_path, content)
    assert path == tmp_path / "tiny" / "7"
    bundle = open_bundle(path)
    verify_files(bundle)
    manifest = bundle.manifest
    for name in ("name", "version", "model_format", "features", "inputs", "pipeline", "execution",
                 "gate_decimals", "postprocess", "loss_curve"):  # fmt: skip
        assert getattr(manifest, name) == getattr(content, name)
    assert dict(manifest.metrics) == {"auc": 0.1 + 0.2}
    assert bundle.state().digest == content.state.digest
    assert bundle.reference() == content.reference
    assert bundle.golden().records == content.golden.records


def test_a_bundle_has_the_layout_that_model_servers_want(tiny: Tiny) -> None:
    assert files(tiny.bundle) == [
        "model.ubj",
        "samescore/golden.parquet",
        "samescore/manifest.json",
        "samescore/reference.json",
        "samescore/state.json",
    ]


def test_a_model_that_is_a_folder_keeps_its_content(tiny: Tiny, tmp_path: Path) -> None:
    model = tmp_path / "saved"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_bytes(b"graph")
    (model / "variables" / "data").write_bytes(b"weights")
    (model / "samescore").mkdir()
    (model / "samescore" / "old.json").write_bytes(b"of another bundle")
    path = write_bundle(tmp_path / "out", content_of(tiny, model=model, model_file=""))
    assert (path / "variables" / "data").read_bytes() == b"weights"
    assert "samescore/old.json" not in files(path)
    assert {"saved_model.pb", "variables/data"} <= open_bundle(path).manifest.files.keys()


def test_every_file_but_the_manifest_has_its_digest(tiny: Tiny) -> None:
    held = set(open_bundle(tiny.bundle).manifest.files)
    assert held == set(files(tiny.bundle)) - {"samescore/manifest.json"}


def test_a_bundle_without_a_reference_has_none(tiny: Tiny, tmp_path: Path) -> None:
    path = write_bundle(tmp_path, content_of(tiny, reference=b""))
    assert open_bundle(path).reference() == b""
    verify_files(open_bundle(path))


def test_an_existing_version_is_never_overwritten(tiny: Tiny, tmp_path: Path) -> None:
    path = write_bundle(tmp_path, content_of(tiny))
    before = {name: (path / name).read_bytes() for name in files(path)}
    with pytest.raises(BundleError, match="exists already; versions are never overwritten"):
        write_bundle(tmp_path, content_of(tiny, gate_decimals=3))
    assert {name: (path / name).read_bytes() for name in files(path)} == before


def test_a_model_that_is_not_there_leaves_nothing(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        write_bundle(tmp_path, content_of(tiny, model=tmp_path / "nowhere"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["to_parquet", "record_environment", "fsync", "fsync_folder"])
def test_a_failure_in_the_middle_leaves_no_version(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    content = content_of(tiny)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    owner: Any = {"to_parquet": GoldenSet, "fsync": os}.get(where, bundle_writer)
    with monkeypatch.context() as patch:
        patch.setattr(owner, where, fail)
        with pytest.raises(BundleError, match="cannot write it: No space left"):
            write_bundle(tmp_path, content)
    assert list((tmp_path / "tiny").iterdir()) == []
    verify_files(open_bundle(write_bundle(tmp_path, content)))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from consistency.bundle import BundleContent, GoldenSet, open_bundle, write_bundle

    bundle = open_bundle(Path(sys.argv[1]))
    manifest = bundle.manifest
    GoldenSet.to_parquet = lambda self: os.kill(os.getpid(), signal.SIGKILL)
    model, golden = bundle.path / "model.ubj", bundle.golden()
    content = BundleContent("tiny", 1, "xgboost", model, "model.ubj", manifest.features, golden)
    write_bundle(Path(sys.argv[2]), content)
"""


def test_a_process_that_is_killed_in_the_middle_leaves_nothing_that_would_be_served(
    tiny: Tiny, tmp_path: Path
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tiny.bundle), str(tmp_path)],
        cwd=ROOT, check=False, timeout=60,
    )  # fmt: skip
    assert killed.returncode == -9
    assert files(tmp_path), "it was killed too early to leave a trace"
    assert FileSystemSource(tmp_path).poll() == {"tiny": {}}
    path = write_bundle(tmp_path, content_of(tiny))
    assert FileSystemSource(tmp_path).poll()["tiny"].keys() == {1}
    verify_files(open_bundle(path))


# ---------------------------------------------------------------------------------- names, versions


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../up",
        "a/b",
        "/etc",
        "a\\b",
        ".hidden",
        "-rf",
        "a..b",
        "a b",
        "a\n",
        "ü",
        "a" * 129,
        "a\0",
    ],
)
def test_a_name_that_cannot_stand_in_a_path_is_refused(
    tiny: Tiny, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ConfigError, match="use letters, digits"):
        write_bundle(tmp_path / "base", content_of(tiny, name=name))
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize("name", ["m", "m47", "A.b-c_d", "0", "a" * 128])
def test_a_plain_name_is_taken(name: str) -> None:
    assert check_model_name(name) == name


@pytest.mark.parametrize("version", [-1, 2**63, "1", 1.0, None, True])
def test_a_version_that_is_no_integer_of_the_wire_is_refused(
    tiny: Tiny, tmp_path: Path, version: Any
) -> None:
    with pytest.raises(ConfigError, match="give an integer from 0"):
        write_bundle(tmp_path / "base", content_of(tiny, version=version))
    assert not (tmp_path / "base").exists()


def test_the_smallest_and_the_largest_version_are_taken() -> None:
    assert [check_version(0), check_version(2**63 - 1)] == [0, 2**63 - 1]


# ------------------------------------------------------------------------------------------- damage


def every_file() -> list[str]:
    return ["model.ubj"] + [
        f"samescore/{n}" for n in ("golden.parquet", "reference.json", "state.json")
    ]


@pytest.mark.parametrize("name", every_file())
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_a_changed_byte_in_any_file_is_refused_with_both_digests(
    copy: Bundle, name: str, where: str
) -> None:
    data = bytearray((copy.path / name).read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": -1}[where]] ^= 1
    (copy.path / name).write_bytes(data)
    with pytest.raises(DigestMismatchError) as caught:
        verify_files(copy)
    error = caught.value
    assert error.subject == name
    assert error.expected == copy.manifest.files[name]
    assert error.got != error.expected
    for part in (str(copy.path), name, error.expected, error.got, "copy the bundle anew"):
        assert part in str(error)


@pytest.mark.parametrize("name", every_file())
def test_a_missing_file_is_named(copy: Bundle, name: str) -> None:
    (copy.path / name).unlink()
    with pytest.raises(BundleError, match=f"file {name} is missing; copy the bundle anew"):
        verify_files(copy)


def test_a_file_that_was_cut_short_is_refused(copy: Bundle) -> None:
    model = copy.path / "model.ubj"
    model.write_bytes(model.read_bytes()[:-10])
    with pytest.raises(DigestMismatchError, match=r"model\.ubj"):
        verify_files(copy)


def test_a_changed_state_is_refused_also_without_looking_at_the_files(copy: Bundle) -> None:
    state = copy.path / "samescore" / "state.json"
    state.write_bytes(state.read_bytes().replace(b"99.7", b"99.8"))
    with pytest.raises(DigestMismatchError, match="fitted state") as caught:
        copy.state()
    assert caught.value.expected == copy.manifest.state_digest


def test_a_folder_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is this a bundle") as caught:
        open_bundle(tmp_path)
    assert caught.value.path == str(tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"3", b"\xff", b"{}", b'"x"'])
def test_a_manifest_that_cannot_be_read_is_refused(copy: Bundle, text: bytes) -> None:
    (copy.path / "samescore" / "manifest.json").write_bytes(text)
    with pytest.raises(BundleError, match=r"manifest|no JSON"):
        open_bundle(copy.path)


def test_a_manifest_of_another_format_says_which(copy: Bundle) -> None:
    value = copy.manifest.to_json() | {"format": 2}
    with pytest.raises(BundleError, match="manifest format 2, this reads 1"):
        Manifest.from_json(value, copy.path)


def test_a_manifest_without_one_of_its_fields_names_it(copy: Bundle) -> None:
    value = copy.manifest.to_json()
    for name in value:
        rest = {k: v for k, v in value.items() if k != name}
        with pytest.raises(BundleError, match=f"'{name}' is missing; bundle the model anew"):
            Manifest.from_json(rest, copy.path)


MANGLED: list[tuple[str, Any]] = [
    ("name", "../up"),
    ("name", 3),
    ("name", None),
    ("version", "1"),
    ("version", -1),
    ("version", True),
    ("pipeline", {}),
    ("pipeline", {"object": "a:b"}),
    ("pipeline", "a:b"),
    ("inputs", {"fields": []}),
    ("inputs", {"fields": [{"name": "x", "type": "float128"}], "allow_extra": False}),
    ("inputs", []),
    ("features", [{"name": "x"}]),
    ("features", [{"name": "x", "type": "float64"}] * 2),
    ("features", None),
    ("execution", "padded:0"),
    ("execution", None),
    ("gate_decimals", 17),
    ("gate_decimals", "10"),
    ("gate_decimals", None),
    ("postprocess", {}),
    ("postprocess", {"output": None, "column": None, "platt": {"slope": "1", "intercept": 0}}),
    ("postprocess", None),
    ("snapshots", None),
    ("snapshots", ["rates"]),
    ("files", None),
    ("files", ["model.ubj"]),
    ("environment", None),
    ("metrics", 3),
    ("loss_curve", 3),
]


@pytest.mark.parametrize(("name", "value"), MANGLED)
def test_a_manifest_with_an_unusable_field_is_refused(copy: Bundle, name: str, value: Any) -> None:
    path = copy.path / "samescore" / "manifest.json"
    path.write_bytes(orjson.dumps(copy.manifest.to_json() | {name: value}))
    with pytest.raises(BundleError, match="bundle the model anew"):
        open_bundle(copy.path)


# ----------------------------------------------------------------------------------------- identity


IDENTITY: list[tuple[str, Any]] = [
    ("name", "other"),
    ("version", 2),
    ("model_format", "lightgbm"),
    ("pipeline", None),
    ("execution", Execution.parse("padded:4")),
    ("postprocess", PostProcess(calibration=Platt(1.0, 0.1))),
    ("state_digest", "0" * 64),
    ("model_digest", "0" * 64),
]


@pytest.mark.parametrize(("name", "value"), IDENTITY)
def test_what_decides_a_score_decides_the_digest(copy: Bundle, name: str, value: Any) -> None:
    assert replace(copy.manifest, **{name: value}).digest != copy.manifest.digest


@pytest.mark.parametrize(
    ("name", "value"), [("metrics", {"auc": 0.1}), ("created", "later"), ("gate_decimals", 3)]
)
def test_what_decides_no_score_leaves_the_digest_alone(copy: Bundle, name: str, value: Any) -> None:
    assert replace(copy.manifest, **{name: value}).digest == copy.manifest.digest


def test_the_same_content_has_the_same_digest_wherever_it_is_written(
    tiny: Tiny, tmp_path: Path
) -> None:
    again = open_bundle(write_bundle(tmp_path, content_of(tiny)))
    assert again.manifest.digest == open_bundle(tiny.bundle).manifest.digest
    assert again.manifest.files == open_bundle(tiny.bundle).manifest.files


# ---------------------------------------------------------------------------------------- pipelines

SIDE_EFFECT = """
from pathlib import Path
Path({marker!r}).write_text("imported")
from consistency import Field, FieldType, PipelineBuilder, RecordSchema
flow = PipelineBuilder(RecordSchema((Field("x", FieldType.FLOAT64),)))
@flow.feature
def doubled(x):
    return 2 * x
pipeline = flow.build()
"""


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """Written by every module of `package` when it is imported."""
    return tmp_path / "imported"


@pytest.fixture
def package(
    tmp_path: Path, marker: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], PipelineRef]]:
    """Install packages that say when they are imported."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    made: list[str] = []

    def install(name: str) -> PipelineRef:
        (site / name).mkdir()
        (site / name / "__init__.py").write_text(SIDE_EFFECT.format(marker=str(marker)))
        made.append(name)
        return PipelineRef(f"{name}:pipeline", name, f"{name} 1.0", digest_sources(name))

    yield install
    for name in made:
        sys.modules.pop(name, None)


def test_a_trusted_pipeline_with_the_right_digest_is_imported(
    package: Callable[[str], PipelineRef], marker: Path, tmp_path: Path
) -> None:
    ref = package("trusted_flow")
    assert not marker.exists()
    pipeline = import_pipeline(tmp_path, ref, {"trusted_flow"})
    assert marker.exists()
    assert pipeline.outputs.names == ("doubled",)


def test_an_untrusted_pipeline_is_refused_and_not_imported(
    package: Callable[[str], PipelineRef], marker: Path, tmp_path: Path
) -> None:
    ref = package("untrusted_flow")
    with pytest.raises(ConfigError, match="name it with --pipeline untrusted_flow"):
        import_pipeline(tmp_path, ref, {"flights_features"})
    assert not marker.exists()


@pytest.mark.parametrize("change", ["edit", "add", "data"])
def test_other_sources_are_refused_before_they_are_imported(
    package: Callable[[str], PipelineRef], marker: Path, tmp_path: Path, change: str
) -> None:
    ref = package(f"changed_flow_{change}")
    folder = tmp_path / "site" / ref.package
    if change == "edit":
        source = folder / "__init__.py"
        source.write_text(source.read_text().replace("2 * x", "2.0000001 * x"))
    else:
        (folder / {"add": "more.py", "data": "table.csv"}[change]).write_text("1\n")
    with pytest.raises(DigestMismatchError) as caught:
        import_pipeline(tmp_path, ref, {ref.package})
    assert not marker.exists()
    error = caught.value
    assert (error.expected, error.got) == (ref.digest, digest_sources(ref.package))
    for part in (error.expected, error.got, f"{ref.package} 1.0", "not a distribution", "install"):
        assert part in str(error)


def test_a_reference_cannot_name_another_package_than_the_one_it_digests(
    package: Callable[[str], PipelineRef], marker: Path, tmp_path: Path
) -> None:
    honest, hidden = package("honest_flow"), package("hidden_flow")
    forged = replace(honest, object=hidden.object)
    with pytest.raises(BundleError, match="hidden_flow:pipeline' is not in package 'honest_flow'"):
        import_pipeline(tmp_path, forged, {"honest_flow"})
    assert not marker.exists()


def test_a_package_that_is_not_installed_is_named(tmp_path: Path) -> None:
    ref = PipelineRef("nowhere_flow:pipeline", "nowhere_flow", "nowhere 1.0", "0" * 64)
    with pytest.raises(ConfigError, match="'nowhere_flow' is not installed here"):
        import_pipeline(tmp_path, ref, {"nowhere_flow"})


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("tiny_features", "write it as package.module:attribute"),
        (":pipeline", "write it as"),
        ("tiny_features:", "write it as"),
        ("no_such_module:pipeline", "install its distribution"),
        ("tiny_features:nothing", "'nothing'; its pipelines are: tiny_features:pipeline$"),
        ("json:nothing", "has no attribute 'nothing'; its pipelines are: none"),
        ("json:loads", "is a function; build it with PipelineBuilder"),
    ],
)
@pytest.mark.usefixtures("tiny")
def test_an_object_that_is_no_pipeline_is_refused(location: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        load_pipeline_object(location)


def test_a_pipeline_is_bound_to_its_state_and_to_the_golden_snapshots(tiny: Tiny) -> None:
    bundle = open_bundle(tiny.bundle)
    bound = bind_pipeline(bundle, trusted={PACKAGE}, store=tiny.store)
    assert bound is not None
    assert bound.snapshots == bundle.manifest.snapshots
    golden = bundle.golden()
    assert golden.records is not None
    made = bound(golden.records)
    assert made.matrix().tobytes() == golden.features.matrix().tobytes()


def test_another_snapshot_can_be_asked_for(tiny: Tiny, tmp_path: Path) -> None:
    base = tiny.copy(tmp_path / "models")
    store = SnapshotStore(base / ".snapshots")
    later = store.put("rates", {"city": np.array(["Berlin"], object), "rate": np.array([9.0])})
    bundle = open_bundle(base / "tiny" / "1")
    bound = bind_pipeline(bundle, trusted={PACKAGE}, store=store, snapshots={"rates": later})
    assert bound is not None
    assert bound([{"amount": 1.0, "age": 30, "city": "Berlin"}]).column("city_rate").tolist() == [
        9.0
    ]


def test_a_snapshot_that_is_not_in_the_store_is_named(tiny: Tiny, tmp_path: Path) -> None:
    bundle = open_bundle(tiny.bundle)
    with pytest.raises(SnapshotError, match=bundle.manifest.snapshots["rates"]):
        bind_pipeline(bundle, trusted={PACKAGE}, store=SnapshotStore(tmp_path))


def test_a_lookup_without_a_snapshot_is_named(tiny: Tiny) -> None:
    bundle = open_bundle(tiny.bundle)
    with pytest.raises(BundleError, match="no snapshot is named for lookup 'rates'"):
        bind_pipeline(bundle, trusted={PACKAGE}, store=tiny.store, snapshots={})


def test_a_bundle_without_a_pipeline_imports_nothing(tiny: Tiny, tmp_path: Path) -> None:
    golden = replace(open_bundle(tiny.bundle).golden(), records=None)
    content = content_of(tiny, pipeline=None, inputs=None, snapshots={}, golden=golden)
    bundle = open_bundle(write_bundle(tmp_path, content))
    assert bind_pipeline(bundle, trusted=(), store=tiny.store) is None
    assert bundle.golden().records is None


def test_distributions_are_named_with_their_version() -> None:
    assert distribution_of("numpy").startswith("numpy ")
    assert distribution_of("flights_features").startswith("flights")
    assert distribution_of("no_such_package") == "not a distribution"


def test_a_manifest_is_json_that_people_can_read(tiny: Tiny) -> None:
    text = (tiny.bundle / "samescore" / "manifest.json").read_text()
    value = json.loads(text)
    assert value["metrics"] == {"auc": 0.9}
    assert len(text.splitlines()) > 20
    assert value["environment"]["packages"]["numpy"]
