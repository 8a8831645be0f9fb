"""Free ports for processes that need one before they listen."""

import itertools
import os
import socket
from contextlib import suppress

# Below the ephemeral ports (Linux: from 32768), which another process may get by chance while the
# process that will listen is still starting.
PORTS = range(20_000, 32_768)
AT_ONCE = 64  # the distance between the ports of two processes started one after the other

_numbers = itertools.count()


def free_port() -> int:
    """A free port of 127.0.0.1, another one on each call."""
    for number in itertools.islice(_numbers, len(PORTS)):
        port = PORTS[(os.getpid() * AT_ONCE + number) % len(PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no port from {PORTS[0]} to {PORTS[-1]} is free")
