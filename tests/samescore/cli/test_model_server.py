from __future__ import annotations

from pathlib import Path

import pytest

from samescore import __version__
from samescore.cli.model_server.command import command
from samescore.cli.model_server.tfs_flags import NO_EFFECT, REFUSED
from tests.fixtures.cli import mistake, samescore

DOCS = Path(__file__).parents[3] / "docs" / "model-server.md"
BOTH_EMPTY = "Both server_options.model_base_path and server_options.model_config_file are empty!"


def failure(*flags: object) -> str:
    """Run a command that must fail to start as upstream's does, and return what it says."""
    ran = samescore("model-server", *flags)
    assert ran.code == 255, (ran.out, ran.err)
    assert "Traceback" not in ran.err
    return ran.out.strip()


@pytest.mark.parametrize("name", REFUSED)
def test_a_flag_that_cannot_be_honoured_is_refused_by_name_with_the_reason(name: str) -> None:
    said = mistake("model-server", f"--{name}=7")
    assert f"--{name}=7 cannot be honoured here: {REFUSED[name].why}" in " ".join(said.split())


@pytest.mark.parametrize("name", [n for n, refused in REFUSED.items() if refused.is_switch])
def test_such_a_switch_is_refused_without_a_value_too(name: str) -> None:
    assert f"--{name}=true cannot be honoured" in mistake("model-server", f"--{name}")


ASKS_FOR_NOTHING = {
    "enable_grpc_healthcheck_service": ("false", "0"),
    "platform_config_file": ("",),
    "tensorflow_session_config_file": ("",),
    "thread_pool_factory_config_file": ("",),
    "per_process_gpu_memory_fraction": ("0", "0.0", ""),
    "use_alts_credentials": ("false", "False"),
    "xla_cpu_compilation_enabled": ("false", "FALSE"),
    "xla_gpu_compilation_enabled": ("false", "0"),
    "mixed_precision": ("",),
    "force_allow_any_version_labels_for_unavailable_models": ("false", "0"),
}


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(3))
def test_values_that_ask_for_nothing_are_accepted(turn: int) -> None:
    assert ASKS_FOR_NOTHING.keys() == REFUSED.keys()
    harmless = [f"--{n}={values[turn % len(values)]}" for n, values in ASKS_FOR_NOTHING.items()]
    without_effect = [f"--{n}=true" for n in NO_EFFECT]
    assert failure(*harmless, *without_effect).endswith(BOTH_EMPTY)


@pytest.mark.slow
def test_without_a_model_it_fails_to_start_in_upstreams_words() -> None:
    said = failure("--port", "auto")
    assert said == f"Failed to start server. Error: INVALID_ARGUMENT: {BOTH_EMPTY}"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port=0"], "At least one of server_options.grpc_port or"),
        (["--ssl_config_file=/no/such"], "NOT_FOUND: /no/such; No such file or directory"),
        (
            [
                "--tensorflow_session_parallelism=1",
                "--tensorflow_intra_op_parallelism=1",
                "--tensorflow_inter_op_parallelism=1",
            ],
            "You cannot configure all.",
        ),
    ],
)
def test_flags_that_contradict_fail_to_start(flags: list[str], said: str) -> None:
    assert said in failure(*flags)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--port=70000"], "'70000' is no port"),
        (["--port=8500", "--rest_api_port=8500"], "cannot be the same as --port"),
        (["--grpc_channel_arguments=oops"], "'oops' is not understood"),
        (["--rest_api_enable_cors_support=maybe"], "neither true nor false"),
        (["--file_system_poll_wait_seconds=-1"], "not in the range"),
        (["--no_such_flag=1"], "No such option"),
    ],
)
def test_mistakes_are_told(flags: list[str], said: str) -> None:
    assert said in mistake("model-server", *flags)


def test_the_version_is_that_of_the_server_and_of_tensorflow() -> None:
    lines = samescore("model-server", "--version").out.splitlines()
    assert lines[0] == f"samescore ModelServer: {__version__}"
    assert lines[1].startswith("TensorFlow Library: 2.")


def test_the_docs_list_each_flag() -> None:
    text = DOCS.read_text()
    own = [option for p in command.params for option in p.opts if not getattr(p, "hidden", False)]
    named = [*own, *(f"--{name}" for name in (*REFUSED, *NO_EFFECT))]
    assert [name for name in named if f"`{name}`" not in text] == []
