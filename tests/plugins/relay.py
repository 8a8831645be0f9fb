"""A way to the gateway that a test can cut, or let fall silent, while both ends live on."""

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Self


class Relay:
    """Hands bytes on between a port of its own and the gateway's, in a thread of its own."""

    def __init__(self, gateway_port: int) -> None:
        self.connections = 0
        self.open = 0
        self._gateway_port = gateway_port
        self._is_silent = False
        self._held: dict[asyncio.StreamWriter, bytearray] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def silence(self) -> None:
        """Hand nothing on; nobody is told."""
        self._do(self._turn(silent=True))

    def speak(self) -> None:
        """Hand on again, also what was held back."""
        self._do(self._turn(silent=False))

    def cut(self) -> None:
        """Break every connection that there is."""
        self._do(self._break())

    async def _turn(self, *, silent: bool) -> None:
        self._is_silent = silent
        for writer in self._held:
            self._hand_on(writer)

    async def _break(self) -> None:
        for writer in self._held:
            writer.transport.abort()

    async def _end(self) -> None:
        self._server.close()
        await self._break()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait(others) if others else None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", self._gateway_port)
        self._held |= {writer: bytearray(), back: bytearray()}
        self.open += 1  # and can be cut
        ways = [asyncio.create_task(self._carry(*way)) for way in ((reader, back), (there, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for end in (writer, back):
            end.transport.abort()
            del self._held[end]
        await asyncio.wait(ways)
        self.open -= 1

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(65536):
                self._held[writer] += piece
                self._hand_on(writer)

    def _hand_on(self, writer: asyncio.StreamWriter) -> None:
        if not self._is_silent:
            writer.write(bytes(self._held[writer]))
            self._held[writer].clear()

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
