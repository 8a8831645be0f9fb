"""A line to a server that is simulated: so many bits a second, so many milliseconds away.

A proxy on 127.0.0.1 that hands bytes on no faster than the line would, and no earlier than they
would arrive. It counts what went through. A process of its own, so that its work is on no side's
account: `python -m benchmarks.link PORT --mbit 20 --delay 40` prints its own port, and when its
input is closed what it counted.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass

PIECE = 64 * 1024  # bytes that are handed on at once
FREE = 16 * 1024 * 1024  # bytes under way on a line without a limit
QUEUE = 0.05  # seconds' worth of bytes that wait at the narrow end, as in a router


@dataclass(slots=True)
class Traffic:
    """What went through: connections, and bytes to and from the server."""

    connections: int = 0
    sent: int = 0
    received: int = 0


@dataclass(frozen=True, slots=True)
class Line:
    """`rate` in bytes a second, 0 for no limit; `delay` in seconds, one way."""

    rate: float
    delay: float

    async def carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        count: Callable[[int], None],
    ) -> None:
        """Hand on what comes in, in one direction, until it ends."""
        clock = asyncio.get_running_loop().time
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(self._pieces())

        async def arrive() -> None:
            while True:
                at, piece = await under_way.get()
                if (wait := at - clock()) > 0:
                    await asyncio.sleep(wait)
                if not piece:
                    writer.write_eof()
                    return
                writer.write(piece)
                await writer.drain()

        async def leave() -> None:
            free_at = clock()
            while True:
                piece = await reader.read(self._piece())
                count(len(piece))
                if self.rate:
                    free_at = max(free_at, clock()) + len(piece) / self.rate
                    if (wait := free_at - clock() - QUEUE) > 0:
                        await asyncio.sleep(wait)
                else:
                    free_at = clock()
                await under_way.put((free_at + self.delay, piece))
                if not piece:
                    return

        await asyncio.gather(arrive(), leave())

    def _piece(self) -> int:
        """A slow line hands on smaller pieces, or each would come late as a whole."""
        return min(PIECE, max(1500, int(self.rate / 500))) if self.rate else PIECE

    def _pieces(self) -> int:
        if not self.rate:
            return FREE // PIECE
        return 2 + int(self.rate * (self.delay + QUEUE) / self._piece())


async def serve(port: int, line: Line) -> None:
    """Listen, say where, and end when our input does."""
    traffic = Traffic()

    def sent(size: int) -> None:
        traffic.sent += size

    def received(size: int) -> None:
        traffic.received += size

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        traffic.connections += 1
        there, back = await asyncio.open_connection("127.0.0.1", port)
        ways: list[Awaitable[None]] = [
            line.carry(reader, back, sent),
            line.carry(there, writer, received),
        ]
        try:
            await asyncio.gather(*ways)
        except OSError:
            pass  # one end has gone: so does the other
        finally:
            writer.close()
            back.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
    print(json.dumps(asdict(traffic)), flush=True)


def main() -> None:
    """Read the line's measures, and be it."""
    asking = argparse.ArgumentParser(prog="python -m benchmarks.link", description=__doc__)
    asking.add_argument("port", type=int, help="where the server listens on 127.0.0.1")
    asking.add_argument("--mbit", type=float, default=0, help="megabits a second; no limit if 0")
    asking.add_argument("--delay", type=float, default=0, help="milliseconds, there and back")
    line = asking.parse_args()
    asyncio.run(serve(line.port, Line(line.mbit * 1e6 / 8, line.delay / 2000)))


if __name__ == "__main__":
    main()
