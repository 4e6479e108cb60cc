from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest

from serving.model_server.batching.parameters import BatchingParameters, read_batching_parameters
from serving.model_server.status import Code, StatusError

TESTDATA = Path(__file__).parents[3] / "data/tfs/testdata"


def read(text: str, folder: Path) -> BatchingParameters:
    file = folder / "batching.txt"
    file.write_text(text)
    return read_batching_parameters(file)


def test_upstreams_example() -> None:
    assert read_batching_parameters(TESTDATA / "batching_config.txt") == BatchingParameters(
        max_batch_size=128, max_enqueued_batches=1_000_000, num_batch_threads=8
    )


def test_the_defaults_are_upstreams(tmp_path: Path) -> None:
    found = read("# nothing", tmp_path)
    assert asdict(found) == {
        "max_batch_size": 1000,
        "batch_timeout_micros": 0,
        "max_enqueued_batches": 10,
        "num_batch_threads": 0,
        "allowed_batch_sizes": (),
        "pad_variable_length_inputs": False,
        "split": False,
        "max_execution_batch_size": 0,
    }
    assert found.threads == len(os.sched_getaffinity(0))


def test_every_field(tmp_path: Path) -> None:
    text = """
    max_batch_size { value: 64 } batch_timeout_micros: { value: 5000 }
    max_enqueued_batches { value: 3 }, num_batch_threads { value: 2 };
    thread_pool_name { value: "pool" }
    allowed_batch_sizes: [ 8, 16 ] allowed_batch_sizes: 32  # rising
    pad_variable_length_inputs: true
    enable_large_batch_splitting { value: True } max_execution_batch_size { value: 32 }
    """
    found = read(text, tmp_path)
    assert found == BatchingParameters(
        64, 5000, 3, 2, (8, 16, 32), pad_variable_length_inputs=True, split=True,
        max_execution_batch_size=32,
    )  # fmt: skip
    assert found.batch_limit == 32
    assert [found.padded_size(n) for n in (1, 8, 9, 32, 33)] == [8, 8, 16, 32, 33]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("max_batch: 3", 'no field named "max_batch"'),
        ("max_batch_size: 3", "max_batch_size"),
        ("max_batch_size { value: 0 }", "input_batch_size_limit must be positive; was 0"),
        ("batch_timeout_micros { value: -1 }", "batch_timeout_micros must be non-negative; was -1"),
        ("num_batch_threads { value: 0 }", "num_batch_threads must be positive; was 0"),
        ("num_batch_threads { value: 99999 }", "num_batch_threads must be at most 4096; was 99999"),
        (
            "allowed_batch_sizes: 8",
            (
                "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; "
                "expected 1000"
            ),
        ),
        (
            "allowed_batch_sizes: [8, 4] max_batch_size { value: 4 }",
            "allowed_batch_sizes entries must be monotonically increasing",
        ),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 2000 }",
            "greater than or equal to max_execution_batch_size",
        ),
    ],
)
def test_mistakes_name_the_field(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(StatusError) as raised:
        read(text, tmp_path)
    assert raised.value.code is Code.INVALID_ARGUMENT
    assert said in raised.value.message


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(StatusError, match="No such file"):
        read_batching_parameters(tmp_path / "none")
