"""Connecting to the gateway with a checked login: by the provider's hook, or by asyncssh.

Tasks and triggers use the same key and the same pinned host key, and no others.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncssh
import paramiko
from airflow.providers.sftp.hooks.sftp import SFTPHook
from airflow.sdk import BaseHook

from sms.errors import GatewayRefused
from sms_airflow import gateway_login, ssh_keys
from sms_airflow.gateway_login import Login


def login(conn_id: str) -> Login:
    """The login of a connection. Raises ConfigurationError."""
    return gateway_login.read(BaseHook.get_connection(conn_id))[0]


async def login_of(conn_id: str) -> Login:
    """The same for an event loop: in a thread, as decrypting a key would block the loop."""
    found = await BaseHook.aget_connection(conn_id)
    return (await asyncio.to_thread(gateway_login.read, found))[0]


def hook_of(login: Login) -> SFTPHook:
    """The provider's hook, with one attempt only, as a refused login must not be repeated.

    The task decides on retries after other failures.
    """
    options = dict(login.options)
    key = ssh_keys.for_paramiko(login.key) if login.key else None
    if key and login.certificate:
        key.load_certificate(login.certificate)
    # The hook's constructor does not take these.
    attributes = {
        "pkey": key,
        "host_key": ssh_keys.host_key_for_paramiko(login.host_key) if login.host_key else None,
        "compress": options.pop("compress", True),
        "allow_host_key_change": options.pop("allow_host_key_change", False),
        # Each key in ~/.ssh would be tried, as a refused login.
        "look_for_keys": options.pop("look_for_keys", True) and not (key or login.password),
    }
    hook = SFTPHook(
        ssh_conn_id=None,
        remote_host=login.host,
        port=login.port,
        username=login.user,
        password=login.password,
        conn_retry_attempts=1,
        **options,
    )
    for name, value in attributes.items():
        setattr(hook, name, value)
    if key:
        hook.key_file = None  # ~/.ssh/config may have set it
    return hook


@contextlib.asynccontextmanager
async def connected(login: Login) -> AsyncIterator[asyncssh.SFTPClient]:
    """A session over asyncssh, closed at the block's end."""
    options: dict[str, Any] = {}
    if login.host_key:
        options["known_hosts"] = ([login.host_key], [], [])
    elif login.options.get("no_host_key_check"):
        options["known_hosts"] = None
    if login.key:
        options["client_keys"] = (
            [(login.key, login.certificate)] if login.certificate else login.key
        )
    elif login.password:
        options["client_keys"] = None  # each key in ~/.ssh would be tried, as a refused login
    async with contextlib.AsyncExitStack() as stack:
        with telling_unpinned(login):
            line = await stack.enter_async_context(
                asyncssh.connect(
                    login.host, login.port, username=login.user, password=login.password, **options
                )
            )
        yield await stack.enter_async_context(line.start_sftp_client())


@contextlib.contextmanager
def telling_unpinned(login: Login) -> Iterator[None]:
    """Raise GatewayRefused for an unknown host key if none is pinned; other errors pass through."""
    try:
        yield
    except (paramiko.SSHException, asyncssh.HostKeyNotVerifiable) as error:
        unknown = isinstance(error, asyncssh.HostKeyNotVerifiable) or "known_hosts" in str(error)
        if login.host_key or not unknown:
            raise
        raise GatewayRefused(
            f"the host key of {login.address} can't be compared, as the connection "
            f"{login.conn_id} pins none: add the extra host_key (Host key in docs/runbook.md). No "
            "login and no file was sent to the server"
        ) from error


async def compare_host_keys(login: Login) -> None:
    """Raise HostKeyNotVerifiable if the server's key is not the pinned one.

    asyncssh offers the pinned kind of key only, and OpenSSH closes the connection without a message
    if it has no key of that kind. Here all kinds are offered, the pinned one first, without login.
    """
    if login.host_key is None:
        return
    kinds = ",".join(kind.decode() for kind in login.host_key.sig_algorithms)
    shown = await asyncssh.get_server_host_key(
        login.host, login.port, server_host_key_algs=f"^{kinds}"
    )
    if shown and shown.public_data != login.host_key.public_data:
        raise asyncssh.HostKeyNotVerifiable("another kind of host key")
