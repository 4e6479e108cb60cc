"""`python -m samescore`: the command line, where the console script is not on the path."""

from __future__ import annotations

from samescore.cli import main

if __name__ == "__main__":
    main(prog_name="samescore")
