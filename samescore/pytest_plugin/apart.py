"""Scores a bundle's golden rows in a process of its own: `python -m samescore.pytest_plugin.apart`.

Some libraries (TensorFlow, torch) take their number of threads once a process: two numbers of
threads can only be compared across processes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
import orjson

from consistency.bundle import open_bundle
from consistency.errors import BackendError, ConfigError, SamescoreError
from consistency.features import FeatureBatch, take_rows
from consistency.jsontype import Json
from consistency.laws.scorer import MOST_ROWS
from consistency.protocols import ScorerInfo
from consistency.scored import Outputs
from samescore.pytest_plugin.checks.subjects import load_model
from samescore.pytest_plugin.fresh import environment
from serving.loaders.trust.grants import ModelTrust

_MODULE: Final = "samescore.pytest_plugin.apart"
_SHOWN: Final = 1_000


class ApartScorer:
    """The outputs of a bundle's golden rows, as another process computed them.

    Of very many, those of the first `MOST_ROWS`: what the law asks for.

    Args:
        bundle: `<base>/<model>/<version>`.
        threads: of the model, in that process.
        device: of the model.
        trust: what its files may bring along.

    Raises:
        ConfigError: the model cannot be had so, or its process ended otherwise than it should.
    """

    def __init__(self, bundle: Path, threads: int, device: str, trust: ModelTrust) -> None:
        request = {
            "bundle": str(bundle),
            "threads": threads,
            "device": device,
            "types": sorted(trust.types),
            "allow_pickle": trust.allow_pickle,
        }
        with tempfile.TemporaryDirectory(prefix="samescore-apart-") as folder:
            answer = _ask(request, Path(folder))
            with np.load(Path(folder) / "outputs.npz", allow_pickle=False) as held:
                self._outputs = {name: held[name] for name in held.files}
        self._info = ScorerInfo(**answer["info"])

    @property
    def info(self) -> ScorerInfo:
        """How the other process computed."""
        return self._info

    def score(self, features: FeatureBatch) -> Outputs:
        """Return the outputs of the golden rows.

        Raises:
            BackendError: there are other rows than the golden ones.
        """
        if any(len(values) != features.rows for values in self._outputs.values()):
            raise BackendError("the other process scored the golden rows, and no others")
        return self._outputs


def _ask(request: dict[str, Json], folder: Path) -> dict[str, Json]:
    ended = subprocess.run(  # noqa: S603 - this very interpreter and module
        [sys.executable, "-m", _MODULE, str(folder)],
        input=orjson.dumps(request),
        env=environment(),
        capture_output=True,
        check=False,
    )
    told = folder / "answer.json"
    if ended.returncode or not told.exists():
        said = ended.stderr.decode(errors="replace")[-_SHOWN:]
        raise ConfigError(f"scoring in a process of its own ended with {ended.returncode}: {said}")
    answer: dict[str, Json] = orjson.loads(told.read_bytes())
    if "error" in answer:
        raise ConfigError(answer["error"])
    return answer


def answer_request(request: dict[str, Json], folder: Path) -> dict[str, Json]:
    """Score the golden rows, write the outputs, and say how they were computed."""
    trust = ModelTrust(frozenset(request["types"]), request["allow_pickle"])
    try:
        bundle = open_bundle(Path(request["bundle"]))
        model = load_model(bundle, request["threads"], request["device"], trust)
        outputs = model.score(take_rows(bundle.golden().features, slice(0, MOST_ROWS)))
    except SamescoreError as e:
        return {"error": str(e)}
    np.savez(folder / "outputs.npz", allow_pickle=False, **outputs)
    return {"info": asdict(model.info)}


def main() -> None:
    """Answer one request."""
    folder = Path(sys.argv[1])
    answer = answer_request(orjson.loads(sys.stdin.buffer.read()), folder)
    (folder / "answer.json").write_bytes(orjson.dumps(answer))


if __name__ == "__main__":
    main()
