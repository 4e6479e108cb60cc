"""`samescore promote`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from samescore.cli.options import (
    ANY_PATH,
    FOLDER,
    json_option,
    model_trust,
    print_json,
    trust_options,
)
from samescore.promotion.promote import PromotionRequest, promote

_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("promote")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.argument("destination", type=ANY_PATH)
@click.option("--golden", type=FOLDER, metavar="BUNDLE",
              help="Verify on the golden rows of this bundle.")  # fmt: skip
@click.option("--samples", type=_FILE,
              help="Verify on these rows, as JSON lines: lists of numbers, or objects of input to "
              "value. Without --golden and --samples, rows are generated.")  # fmt: skip
@trust_options
@json_option
def command(
    source: Path,
    destination: Path,
    golden: Path | None,
    samples: Path | None,
    trust_types: tuple[str, ...],
    allow_pickle: bool,
    as_json: bool,
) -> None:
    """Make a float64 model from the float32 one at SOURCE and write it to DESTINATION.

    SOURCE is a SavedModel's folder, a .keras, .pt2, .onnx or frozen .pb file, or a bundle, whose
    own golden rows then verify the result. Inputs keep their names and dtypes; floating outputs
    become float64. What cannot compute in float64 is refused by name.

    \b
    Example:
      samescore promote models/churn/3 churn_float64
      samescore promote net.pt2 net_float64.pt2 --samples rows.jsonl

    Exit code 0: verified and written; 1: the promoted model is not the same model, or its scores
    still move with the batch (nothing is written); 2: it cannot be promoted, or wrong usage.
    """
    if golden is not None and samples is not None:
        raise click.UsageError("give --golden or --samples, not both")
    trust = model_trust(trust_types, allow_pickle)
    report = promote(PromotionRequest(source, destination, golden, samples, trust))
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(str(report))
        click.echo(f"wrote {destination}" if report.passed else "nothing was written")
    sys.exit(0 if report.passed else 1)
