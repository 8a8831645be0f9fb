"""One SSH connection to a gateway, shared by all waits of a triggerer, for any directory.

Streams lease it and request listings, several at once: SFTP answers several requests over one
connection. The first listing opens it, and the end of the last lease closes it. After a failure one
attempt is made for all waits. The pause between attempts is kept when waits end and begin: a new
wait gets no earlier attempt.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextvars import Context
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from sms.delivery.gateway import Folder, RemoteFile
from sms.errors import GatewayUnreachable
from sms_airflow.sftp_gateway import Account, ListingFailed, SftpWatch, watching

SOONEST = 1.0  # seconds, about, from the first failure to the next attempt
SLOWEST = 60.0  # seconds at most, after any number of failures
# After a refused login: servers block an address after some five in ten minutes (fail2ban), and an
# operator who has corrected the key should not wait long.
REFUSED = 300.0


class SharedConnection:
    """At most one SSH connection to one gateway, in one event loop."""

    def __init__(self) -> None:
        self.lost_at: datetime | None = None  # real time; None while it works
        self._leases = 0
        self._answered = 0
        self._failures = 0
        self._earliest = 0.0  # by the event loop's clock: no attempt to connect before it
        self._opening: asyncio.Task[SftpWatch] | None = None
        self._connection = contextlib.AsyncExitStack()

    @contextlib.asynccontextmanager
    async def leased(self) -> AsyncIterator["SharedConnection"]:
        """Keep the connection open until the end of the block."""
        self._leases += 1
        try:
            yield self
        finally:
            self._leases -= 1
            if not self._leases:
                await self._close()

    async def listing(self, account: Account, folder: Folder) -> list[RemoteFile]:
        """All files of a directory, once the next attempt to connect is due and has succeeded."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(account), context=Context())
        opening = self._opening
        # Shielded: a cancelled wait must not cancel the attempt of the others.
        watch = await asyncio.shield(opening)
        answered = self._answered
        try:
            found = await watch.listing(account, folder)
        except ListingFailed:
            self._record_answer()
            raise
        except GatewayUnreachable:
            # Another wait may have closed it already. If other listings were answered meanwhile,
            # the connection works, and only this listing took too long.
            if opening is self._opening and answered == self._answered:
                self._record_failure(pause(self._failures, random.random()))
                await self._close()
            raise
        self._record_answer()
        return found

    async def _open(self, account: Account) -> SftpWatch:
        await asyncio.sleep(self._earliest - asyncio.get_running_loop().time())
        try:
            return await self._connection.enter_async_context(watching(account))
        except Exception as error:
            if self._opening is asyncio.current_task():
                self._opening = None
            lost = isinstance(error, GatewayUnreachable)
            self._record_failure(pause(self._failures, random.random()) if lost else REFUSED)
            raise

    def _record_answer(self) -> None:
        self._answered += 1
        self._failures, self.lost_at = 0, None

    def _record_failure(self, seconds: float) -> None:
        self._earliest = asyncio.get_running_loop().time() + seconds
        self._failures += 1
        self.lost_at = self.lost_at or datetime.now(UTC)

    async def _close(self) -> None:
        opening, self._opening = self._opening, None
        connection, self._connection = self._connection, contextlib.AsyncExitStack()
        if opening:
            opening.cancel()
            await asyncio.wait([opening])
        await connection.aclose()


def pause(failures: int, chance: float) -> float:
    """Seconds to the next attempt: doubled after each failure, with a random factor."""
    return min(SOONEST * 2.0 ** min(failures, 10), SLOWEST) * (0.5 + chance / 2)


_CONNECTIONS: WeakKeyDictionary[
    asyncio.AbstractEventLoop, dict[tuple[str, str, str], SharedConnection]
] = WeakKeyDictionary()


def shared_connection(account: Account) -> SharedConnection:
    """This event loop's connection to an account's gateway; it keeps its last failures."""
    connections = _CONNECTIONS.setdefault(asyncio.get_running_loop(), {})
    # The key has the address too: if the Airflow connection gets a new address, running waits stay
    # at the former one while it answers.
    key = (account.conn_id, account.address, account.service_id)
    return connections.setdefault(key, SharedConnection())
