"""uvicorn, stopped without losing a request.

uvicorn's own stop closes each connection on which no request is being answered at that moment: a
request that is already on its way there gets a reset, and so does one whose connection still waits
to be accepted. Here whatever was sent is answered; each answer tells its client to close the
connection, and the client's next connection is refused.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final

import uvicorn

SILENT_SECONDS: Final = 0.3
"""How long an open connection may bring another request after the stop. One that a client keeps
for later is closed then, as HTTP allows at any time."""
_LOOKS: Final = 30
_CLOSE: Final = (b"connection", b"close")


class DrainingServer(uvicorn.Server):
    """A `uvicorn.Server` that is given its sockets, and loses nothing when it stops."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more; answer what was sent; then stop as uvicorn does."""
        # In place: requests at hand hold this list. Nobody replaces it after the last tick.
        self.server_state.default_headers.append(_CLOSE)
        await self._stop_listening(sockets or [])
        # Counted, not timed: a loop that was held up has not read what came in the meantime.
        for _ in range(_LOOKS):
            if not self.server_state.connections:
                break
            await asyncio.sleep(SILENT_SECONDS / _LOOKS)
        await super().shutdown(sockets)

    async def _stop_listening(self, sockets: Sequence[socket.socket]) -> None:
        """Close the listening sockets, and take in the connections that wait in them."""
        # While a copy is open the kernel keeps them.
        copies = [sock.dup() for sock in sockets]
        for server in self.servers:
            server.close()
        for sock in sockets:
            sock.close()
        for copy in copies:
            for connection in _accepted(copy):
                await self._take_in(connection)

    async def _take_in(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        protocol: Any = self.config.http_protocol_class  # Any: one of several, all called so
        await loop.connect_accepted_socket(
            lambda: protocol(
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            ),
            connection,
        )


def _accepted(listening: socket.socket) -> list[socket.socket]:
    """Accept every connection that waits, and close the socket."""
    found = []
    with listening:
        listening.setblocking(False)
        while True:
            try:
                connection, _ = listening.accept()
            except ConnectionAbortedError:  # its client gave up
                continue
            except OSError:  # nobody waits
                break
            found.append(connection)
    for connection in found:
        connection.setblocking(False)
    return found
