"""Getting in at the gateway by a login that was read: by the provider's hook, or by asyncssh.

Tasks and triggers get the same key and the same pinned host key, as they were read, and no others.
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
    """The login of a connection; ConfigurationError if it can't be one."""
    return gateway_login.read(BaseHook.get_connection(conn_id))[0]


async def login_of(conn_id: str) -> Login:
    """The same in an event loop, which an encrypted key would hold up."""
    found = await BaseHook.aget_connection(conn_id)
    return (await asyncio.to_thread(gateway_login.read, found))[0]


def hook_of(login: Login) -> SFTPHook:
    """The provider's hook; one attempt, for a refused login must not be repeated.

    Whether to try again after anything else is the task's decision.
    """
    options = dict(login.options)
    key = ssh_keys.for_paramiko(login.key) if login.key else None
    if key and login.certificate:
        key.load_certificate(login.certificate)
    # Of these its constructor knows nothing.
    attributes = {
        "pkey": key,
        "host_key": ssh_keys.host_key_for_paramiko(login.host_key) if login.host_key else None,
        "compress": options.pop("compress", True),
        "allow_host_key_change": options.pop("allow_host_key_change", False),
        # Each key of ours in ~/.ssh would be a refused login.
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
        hook.key_file = None  # which ~/.ssh/config may name
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
        options["client_keys"] = None  # each key of ours in ~/.ssh would be a refused login
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
    """Tell a host key that is unknown, as none is pinned, from one that is another's."""
    try:
        yield
    except (paramiko.SSHException, asyncssh.HostKeyNotVerifiable) as error:
        unknown = isinstance(error, asyncssh.HostKeyNotVerifiable) or "known_hosts" in str(error)
        if login.host_key or not unknown:
            raise
        raise GatewayRefused(
            f"the host key of {login.address} can't be compared, as the connection "
            f"{login.conn_id} pins none: add the extra host_key (Host key in docs/runbook.md). The "
            "server got neither a login nor a file"
        ) from error


async def compare_host_keys(login: Login) -> None:
    """Raise HostKeyNotVerifiable if the server shows no key of the pinned kind, or another.

    asyncssh asks for the pinned kind alone, and OpenSSH hangs up, without a word, on whoever asks
    for a kind that it hasn't. Here it may show any, the pinned kind first; nobody logs in.
    """
    if login.host_key is None:
        return
    kinds = ",".join(kind.decode() for kind in login.host_key.sig_algorithms)
    shown = await asyncssh.get_server_host_key(
        login.host, login.port, server_host_key_algs=f"^{kinds}"
    )
    if shown and shown.public_data != login.host_key.public_data:
        raise asyncssh.HostKeyNotVerifiable("another kind of host key")
