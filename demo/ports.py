"""Ports for processes that must be given one before they listen."""

import itertools
import os
import socket
from contextlib import suppress

# Below those that a system hands out by itself (Linux: from 32768): of these, none is taken by
# somebody who never asked for it while the process that will listen is still starting.
PORTS = range(20_000, 32_768)
AT_ONCE = 64  # apart are the ports of two processes that were started one after the other

_numbers = itertools.count()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, another one each time."""
    for number in itertools.islice(_numbers, len(PORTS)):
        port = PORTS[(os.getpid() * AT_ONCE + number) % len(PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no port from {PORTS[0]} to {PORTS[-1]} is free")
