"""Says which act is being played, and how long each took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.markup import escape


@dataclass(slots=True)
class Narrator:
    """The demo's voice.

    Attributes:
        console: where it speaks.
        acts: how many acts there are.
        seconds: that each act took, by its name.
    """

    console: Console
    acts: int
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def act(self, name: str, title: str) -> Iterator[None]:
        """Announce an act, and say how long it took.

        Args:
            name: its name in the summary.
            title: its heading.
        """
        number = len(self.seconds) + 1
        self.console.print(f"\n[bold]{number}/{self.acts}  {escape(title)}[/bold]")
        started = time.perf_counter()
        yield
        taken = self.seconds[name] = time.perf_counter() - started
        self.console.print(f"     [dim]{taken:.1f} s[/dim]")

    def say(self, text: str, style: str = "") -> None:
        """Print a line of an act."""
        for line in text.splitlines():
            self.console.print(
                f"     {line}", style=style, markup=False, highlight=False, soft_wrap=True
            )

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show that something is going on, where a person watches."""
        with self.console.status(f"{escape(what)} …"):
            yield
