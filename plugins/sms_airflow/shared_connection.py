"""The one SSH connection to a gateway that all waits of a triggerer share, for any directory.

Streams lease it and ask it for listings, several at once if need be: SFTP answers several requests
over one connection. The first listing opens it, and the end of the last lease closes it. When it
breaks, or can't be opened, one attempt is made for all, and the pauses between attempts outlast
the waits: a new one gets no quicker attempt.
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
SLOWEST = 60.0  # and at most, however many fail
# After a refused login: servers shut out an address after some five in ten minutes (fail2ban), and
# whoever has corrected the key should not wait long.
REFUSED = 300.0


class SharedConnection:
    """One SSH connection at most, to one gateway, in one event loop."""

    def __init__(self) -> None:
        self.lost_at: datetime | None = None  # real time; None while it holds
        self._leases = 0
        self._answered = 0
        self._failures = 0
        self._earliest = 0.0  # by the event loop's clock: no attempt to connect before it
        self._opening: asyncio.Task[SftpWatch] | None = None
        self._connection = contextlib.AsyncExitStack()

    @contextlib.asynccontextmanager
    async def leased(self) -> AsyncIterator["SharedConnection"]:
        """Keep it open until the end of the block."""
        self._leases += 1
        try:
            yield self
        finally:
            self._leases -= 1
            if not self._leases:
                await self._hang_up()

    async def listing(self, account: Account, folder: Folder) -> list[RemoteFile]:
        """All files of a directory, once the next attempt to connect is due and has succeeded."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(account), context=Context())
        opening = self._opening
        # Shielded: whoever stops waiting does not stop the attempt of all others.
        watch = await asyncio.shield(opening)
        answered = self._answered
        try:
            found = await watch.listing(account, folder)
        except ListingFailed:
            self._holds()
            raise
        except GatewayUnreachable:
            # Others may have noticed first. Or they were answered meanwhile: then the connection
            # is sound, and only this listing took too long.
            if opening is self._opening and answered == self._answered:
                self._put_off(pause(self._failures, random.random()))
                await self._hang_up()
            raise
        self._holds()
        return found

    async def _open(self, account: Account) -> SftpWatch:
        await asyncio.sleep(self._earliest - asyncio.get_running_loop().time())
        try:
            return await self._connection.enter_async_context(watching(account))
        except Exception as error:
            if self._opening is asyncio.current_task():
                self._opening = None
            lost = isinstance(error, GatewayUnreachable)
            self._put_off(pause(self._failures, random.random()) if lost else REFUSED)
            raise

    def _holds(self) -> None:
        self._answered += 1
        self._failures, self.lost_at = 0, None

    def _put_off(self, seconds: float) -> None:
        self._earliest = asyncio.get_running_loop().time() + seconds
        self._failures += 1
        self.lost_at = self.lost_at or datetime.now(UTC)

    async def _hang_up(self) -> None:
        opening, self._opening = self._opening, None
        connection, self._connection = self._connection, contextlib.AsyncExitStack()
        if opening:
            opening.cancel()
            await asyncio.wait([opening])
        await connection.aclose()


def pause(failures: int, chance: float) -> float:
    """Seconds to the next attempt after so many failures: doubled each time, and spread."""
    return min(SOONEST * 2.0 ** min(failures, 10), SLOWEST) * (0.5 + chance / 2)


_CONNECTIONS: WeakKeyDictionary[
    asyncio.AbstractEventLoop, dict[tuple[str, str, str], SharedConnection]
] = WeakKeyDictionary()


def shared_connection(account: Account) -> SharedConnection:
    """This event loop's connection to an account's gateway; it remembers its last failures."""
    connections = _CONNECTIONS.setdefault(asyncio.get_running_loop(), {})
    # By the address, too: where Airflow's connection was since given another one, a wait goes on
    # at the first as long as that answers.
    key = (account.conn_id, account.address, account.service_id)
    return connections.setdefault(key, SharedConnection())
