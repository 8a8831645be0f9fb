"""A TCP port that leads to a Unix socket: `python doorway.py PORT SOCKET`.

The PostgreSQL of the tests listens on a socket only, the one of the containers by TCP only.
"""

import asyncio
import contextlib
import sys
from functools import partial


async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while block := await source.read(1 << 16):
            sink.write(block)
            await sink.drain()
    sink.close()


async def lead(path: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    inner_reader, inner_writer = await asyncio.open_unix_connection(path)
    await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))


async def main(port: int, path: str) -> None:
    server = await asyncio.start_server(partial(lead, path), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
