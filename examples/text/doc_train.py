"""Trains a small network on docstrings: does a text come from scipy or from numpy?

python examples/text/doc_train.py --out build/text            # all texts, about half a minute
python examples/text/doc_train.py --out build/text --small    # some seconds, for tests

It bundles the network twice, as it was trained and promoted to float64.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from consistency.errors import SamescoreError
from consistency.features import FeatureBatch
from consistency.state import FittedState
from doc_data import Document, documents
from doc_features import MOST_TOKENS, pipeline, tokenize
from samescore import BundleRequest, build_bundle, promote_to_float64

SEED: Final = 1999
WIDTH: Final = 32
GOLDEN_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Effort:
    """How much training is done.

    Attributes:
        texts: most training texts.
        words: size of the vocabulary.
        epochs: passes over the training texts.
    """

    texts: int = 100_000
    words: int = 4_000
    epochs: int = 4


SMALL: Final = Effort(texts=1_500, words=1_000, epochs=2)


def train(out: Path, effort: Effort) -> dict[str, Path]:
    """Train and bundle `text_float32` and `text_float64`.

    Args:
        out: base folder of the bundles.
        effort: texts, words and epochs.

    Returns:
        Each bundle's folder by model name.
    """
    texts = documents()
    known = _spread([t for t in texts if not t.held_out], effort.texts)
    later = _spread([t for t in texts if t.held_out], 2_000)
    state = FittedState({"vocabulary": _vocabulary(known, effort.words)})
    bound = pipeline.bind(state, {})
    features = bound(_records(known))
    vocabulary: dict[str, int] = state["vocabulary"]
    model = _network(sorted(vocabulary, key=vocabulary.__getitem__))
    _fit(model, features, known, effort.epochs)
    right = _accuracy(model, bound(_records(later)), later)
    print(f"{len(known)} texts, {right:.1%} of {len(later)} held-out texts are told apart")

    bundles = {}
    with tempfile.TemporaryDirectory() as folder:
        samples = _inputs(features)
        made = {"text_float32": model, "text_float64": promote_to_float64(model, samples)}
        for name, network in made.items():
            path = Path(folder) / name
            network.export(path, verbose=False)
            request = BundleRequest(
                name=name,
                version=1,
                model_format="saved_model",
                model=path,
                pipeline="doc_features:pipeline",
                state=state,
                golden=_records(later[:GOLDEN_ROWS]),
                reference=_records(known[:2_000]),
                execution="float64" if name == "text_float64" else "padded:16",
                metrics={"accuracy": right},
            )
            bundles[name] = build_bundle(out, request)
            print(f"{name} bundled: {bundles[name]}")
    return bundles


def _spread(texts: Sequence[Document], most: int) -> list[Document]:
    """Return at most so many texts, evenly spaced, in an order that mixes both packages."""
    if len(texts) > most:
        texts = [texts[i * len(texts) // most] for i in range(most)]
    order = np.random.default_rng(SEED).permutation(len(texts))
    return [texts[i] for i in order.tolist()]


def _records(texts: Sequence[Document]) -> list[dict[str, str]]:
    return [{"text": t.text} for t in texts]


def _vocabulary(texts: Sequence[Document], words: int) -> dict[str, int]:
    """Return the most frequent tokens; equally frequent ones in the order of their letters."""
    counts = Counter(token for t in texts for token in tokenize(t.text))
    # the packages' own names would make it too easy
    own = {"numpy", "np", "scipy", "sp"}
    ranked = sorted((-count, token) for token, count in counts.items() if token not in own)
    return {token: place for place, (_, token) in enumerate(ranked[:words])}


def _network(words: list[str]) -> Any:  # noqa: ANN401 - keras has no types
    import keras

    keras.utils.set_random_seed(SEED)
    tokens = keras.Input((MOST_TOKENS,), dtype="string", name="tokens")
    count = keras.Input((1,), name="token_count")
    unknown = keras.Input((1,), name="unknown_ratio")
    ids = keras.layers.StringLookup(vocabulary=words, mask_token="")(tokens)
    vectors = keras.layers.Embedding(len(words) + 2, WIDTH, mask_zero=True)(ids)
    mean = keras.layers.GlobalAveragePooling1D()(vectors)
    hidden = keras.layers.Dense(WIDTH, "relu")(mean)
    share = keras.layers.Rescaling(1 / MOST_TOKENS)(count)
    joined = keras.layers.Concatenate()([hidden, share, unknown])
    score = keras.layers.Dense(1, "sigmoid", name="score")(joined)
    inputs = {"tokens": tokens, "token_count": count, "unknown_ratio": unknown}
    return keras.Model(inputs, score)


def _fit(
    model: Any,  # noqa: ANN401 - keras has no types
    features: FeatureBatch,
    texts: Sequence[Document],
    epochs: int,
) -> None:
    import keras

    model.compile(keras.optimizers.Adam(0.01), "binary_crossentropy")
    labels = np.array([t.label for t in texts], np.float32)
    model.fit(_tensors(features), labels, batch_size=64, epochs=epochs, verbose=0)


def _accuracy(
    model: Any,  # noqa: ANN401 - keras has no types
    features: FeatureBatch,
    texts: Sequence[Document],
) -> float:
    scores = model.predict(_tensors(features), batch_size=512, verbose=0)[:, 0]
    return float(np.mean((scores > 0.5) == np.array([t.label == 1 for t in texts])))


def _inputs(features: FeatureBatch) -> dict[str, NDArray[Any]]:  # Any: texts beside numbers
    """Return what the network takes: tokens padded with empty texts, and two numbers a row."""
    held = features.column("tokens").tolist()
    padded = np.array([row + [""] * (MOST_TOKENS - len(row)) for row in held], object)
    names = pipeline.outputs.numeric_names
    numbers = {name: features.column(name).astype(np.float32)[:, None] for name in names}
    return {"tokens": padded, **numbers}


def _tensors(features: FeatureBatch) -> dict[str, Any]:
    """Return the same as tensors: of arrays, Keras' loops take no texts."""
    import tensorflow as tf

    return {name: tf.constant(values) for name, values in _inputs(features).items()}


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train and bundle the text models.")
    parser.add_argument("--out", type=Path, required=True, help="base folder of the bundles")
    parser.add_argument("--small", action="store_true", help="1,500 texts, 2 epochs")
    options = parser.parse_args()
    try:
        train(options.out, SMALL if options.small else Effort())
    except SamescoreError as error:  # its message says what to do; a traceback would bury it
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
