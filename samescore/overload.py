"""Tells of the requests that uvicorn itself turns away, before the application sees them.

At its bound of connections and requests uvicorn answers 503 from within its protocol: without this
they would be in no metric, and an overloaded server would look like one with less traffic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


def telling_protocol(turned_away: Callable[[], None]) -> type[HttpToolsProtocol]:
    """Return uvicorn's HTTP protocol, which also tells.

    Args:
        turned_away: called for each request that is answered 503 for want of room.
    """
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class TellingProtocol(HttpToolsProtocol):
        """See the module's text."""

        def on_headers_complete(self) -> None:
            """Ask what uvicorn is about to ask: nothing happens in between."""
            bound = self.limit_concurrency
            if bound is not None and max(len(self.connections), len(self.tasks)) >= bound:
                turned_away()
            super().on_headers_complete()

    return TellingProtocol
