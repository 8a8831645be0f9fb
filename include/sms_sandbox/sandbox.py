"""The gateway inside a test: a background thread with a Python handle."""

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Coroutine
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sms_sandbox import clock, journal, private
from sms_sandbox.account import Account
from sms_sandbox.knobs import Drop, Knobs, Verb
from sms_sandbox.server import Gateway, Plan


class Sandbox:
    """`with Sandbox(root) as gateway:` runs a gateway; its root can be used again afterwards."""

    def __init__(
        self,
        root: Path,
        *,
        account: Account | None = None,
        knobs: Knobs | None = None,
        start: datetime | None = None,
        hurry: float | None = None,
        seed: int = 1,
    ) -> None:
        self._plan = Plan(
            root=root,
            account=account or Account(),
            knobs=knobs or Knobs(),
            start=start,
            hurry=hurry,
            seed=seed,
            jumps=True,
        )

    def __enter__(self) -> Self:
        self._gateway = Gateway(self._plan)
        self._started: threading.Event = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name="sms_sandbox", daemon=True)
        self._thread.start()
        self._started.wait()
        self._raise_failure()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._serving.cancel)
        self._thread.join()
        self._gateway.close()
        self._raise_failure()

    @property
    def host(self) -> str:
        return self._plan.host

    @property
    def port(self) -> int:
        return self._gateway.port

    @property
    def user(self) -> str:
        return self._plan.account.user

    @property
    def host_key(self) -> str:
        """The host key for the client: `ssh-ed25519 AAAA...`."""
        return self._gateway.host_key_line

    @property
    def client_key_path(self) -> Path | None:
        """The client's generated private key; None if the account names another login."""
        return self._gateway.client_key_path

    @property
    def root(self) -> Path:
        return self._gateway.place.root

    @property
    def home(self) -> Path:
        """The clients' home, as a local directory."""
        return self._gateway.place.home

    @property
    def clock_path(self) -> Path:
        """The file for SMS_SANDBOX_CLOCK."""
        return self._gateway.place.clock

    def now(self) -> datetime:
        """Sandbox time."""
        return clock.now(self.clock_path)

    def move_clock(self, *, to: datetime) -> None:
        """Jump forward in sandbox time, and do all steps that became due.

        Files in Send are taken first: a file can't be older than its submission.
        """
        self.settle()
        clock.move(self.clock_path, to=to)
        self.settle()

    def settle(self) -> None:
        """Work until nothing is due without a change of a client, the clock or a knob."""
        self._do(self._gateway.provider.settle())

    def settled_names(self) -> list[str]:
        """The names in Send after `settle`."""
        self.settle()
        return sorted(os.listdir(self._gateway.place.send))

    def report_names(self) -> list[str]:
        """The names in Report after `settle`."""
        self.settle()
        return sorted(os.listdir(self._gateway.place.report))

    def journal(self, what: str | None = None) -> list[dict[str, Any]]:
        """The journal so far, all entries or one kind."""
        return list(journal.read(self._gateway.place.journal, what))

    def counts(self) -> Counter[str]:
        """The number of journal entries by kind: connection, login, listing ..."""
        return journal.counts(self._gateway.place.journal)

    def turn(self, **knobs: Any) -> None:
        """Change some knobs, and apply them."""
        self._do(self._turn(knobs))

    def drop_connection_after(self, verb: Verb, nth: int = 1) -> None:
        """Cut the connection after the n-th `verb` from now, before its answer."""
        self.turn(drops=[asdict(Drop(verb, "after", nth))])

    def drop_connection_before(self, verb: Verb, nth: int = 1) -> None:
        """Cut the connection instead of the n-th `verb` from now."""
        self.turn(drops=[asdict(Drop(verb, "before", nth))])

    def put_report(self, name: str, content: bytes) -> None:
        """Put a test's own report into Report; it replaces one of that name."""
        self._do(self._put_report(name, content))

    async def _turn(self, knobs: dict[str, Any]) -> None:
        self._gateway.desk.panel.turn(**knobs)
        self._gateway.desk.note("knobs", turned=sorted(knobs))
        await self._gateway.provider.settle()

    async def _put_report(self, name: str, content: bytes) -> None:
        fresh = self._gateway.place.state / "put.part"
        private.write(fresh, content)
        self._gateway.desk.date(fresh)
        fresh.replace(self._gateway.place.report / name)

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _live(self) -> None:
        try:
            asyncio.run(self._serve())
        except asyncio.CancelledError:
            pass
        except BaseException as failure:
            self._failure = failure
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        is_ready = asyncio.Event()
        self._serving = asyncio.create_task(self._gateway.serve(is_ready))
        waiting = asyncio.create_task(is_ready.wait())
        await asyncio.wait({self._serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if is_ready.is_set():
            self._started.set()
        await self._serving

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise RuntimeError("the sandbox gateway broke down") from self._failure
