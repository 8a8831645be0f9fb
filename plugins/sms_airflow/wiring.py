"""The product's objects (gateway, ledger, warehouse, folders) from Airflow's configuration.

Only this module reads that configuration: the connections (`sms_gateway`, `sms_ledger`, a
campaign's warehouse, and the optional ones), the kill switch, and the settings file. A missing
connection raises a ConfigurationError here that names it.
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from airflow.sdk import BaseHook, Connection, ObjectStoragePath, Variable
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from sms.campaign.definition import Campaign, load
from sms.delivery.gateway import Folder
from sms.errors import ConfigurationError, SendingHalted
from sms.ledger.ledger import Ledger
from sms.ledger.pseudonyms import Key
from sms.run.folder import RunFolder
from sms.run.limits import UNASKED, Balance
from sms.run.query_columns import QueryColumn
from sms.settings import Settings
from sms.settings import load as load_settings
from sms_airflow import gateway_login, notifying, query_columns, warehouse
from sms_airflow.balance import ask
from sms_airflow.sftp_gateway import Account, SftpGateway

log = logging.getLogger(__name__)

GATEWAY = "sms_gateway"
LEDGER = "sms_ledger"
BALANCE = "sms_balance"
STOP_LIST_KEY = "sms_stop_list_key"
HALT = "sms_halt"  # the kill switch: an Airflow variable
SCHEMA_TRUSTED = 60.0  # seconds
NOT_HALTED = ("", "0", "no", "off", "false")


def settings() -> Settings:
    """The operator's settings file."""
    return load_settings()


def require_running() -> None:
    """Raise SendingHalted while the variable `sms_halt` is set; called before every rename."""
    if str(Variable.get(HALT, default="")).strip().casefold() not in NOT_HALTED:
        raise SendingHalted(HALT)


def campaign(name: str) -> Campaign:
    """A campaign, read from its folder."""
    return load(settings().campaigns_folder / name)


def account() -> Account:
    """The provider's account, from the connection `sms_gateway`. Raises ConfigurationError."""
    found = connection(GATEWAY, "type sftp, with the extras service_id and host_key")
    login, extras = gateway_login.read(found)
    if not (service_id := extras.get("service_id")):
        raise ConfigurationError(
            f"the connection {GATEWAY} has no service_id in its extras: add the 5 characters "
            "that the provider gave you"
        )
    folders = {
        Folder.SEND: extras.get("send_dir") or str(Folder.SEND),
        Folder.REPORT: extras.get("report_dir") or str(Folder.REPORT),
    }
    if len({folder.strip("/").casefold() for folder in folders.values()}) < len(folders):
        raise ConfigurationError(
            f"the connection {GATEWAY} names {folders[Folder.SEND]} as send_dir and as report_dir: "
            "name the gateway's two directories, or remove both extras if they are Send and Report"
        )
    if unread := gateway_login.unread(found):
        log.warning("These extras of %s are ignored: %s", GATEWAY, ", ".join(unread))
    return Account(GATEWAY, login.address, service_id, folders)


def gateway() -> SftpGateway:
    """A session at the gateway; open it by `with`."""
    return SftpGateway(account())


def balance() -> Balance:
    """The balance of the account; its connection is optional."""
    try:
        found = BaseHook.get_connection(BALANCE)
    except AirflowNotFoundException:
        return UNASKED
    return ask(found)


def ledger(actor: str = "", **how: Any) -> Ledger:
    """The ledger of the connection `sms_ledger`, on this process's engine.

    Its schema is checked once a minute, which is once for most tasks.
    """
    url = _ledger_url().render_as_string(hide_password=False)
    memory = Ledger.connect(url, actor=actor, key=_stop_list_key, **how)
    memory.require_current(trusted_for=SCHEMA_TRUSTED)
    return memory


def ledger_for(ti: Any) -> Ledger:
    """The ledger for one try of a task: the actor of its events; notifiers get state changes."""
    actor = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}#{ti.try_number}"
    return ledger(actor=actor, on_move=notifying.of_move)


def run_folder(dag_id: str, run_id: str) -> RunFolder:
    """The folder of a run's files."""
    spelled = re.sub(r"[^\w.+-]", "_", run_id)
    if spelled != run_id:  # two run ids must never share a folder
        spelled += "-" + hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return RunFolder(ObjectStoragePath(settings().runs_folder) / dag_id / spelled)


def archive() -> ObjectStoragePath:
    """The folder of raw reports."""
    return ObjectStoragePath(settings().archive_folder)


def rows(conn_id: str, sql: str, where: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query as text, streamed; `where` is the query's file."""
    return warehouse.rows(_warehouse(conn_id), sql, conn_id=conn_id, where=where)


def columns(conn_id: str, sql: str, where: str) -> list[QueryColumn]:
    """The columns of a query, without running it."""
    return query_columns.of(_warehouse(conn_id), sql, conn_id=conn_id, where=where)


def connection(conn_id: str, what: str) -> Connection:
    """A connection. Raises ConfigurationError with a sentence on how to create it."""
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        if os.environ.get(variable):  # Airflow treats an invalid value as missing
            raise ConfigurationError(
                f"the connection {conn_id} can't be read: the value of {variable} is neither a URI "
                "nor one line of JSON with the fields conn_type, host, port (a number), login, "
                "password and extra"
            ) from None
        raise ConfigurationError(
            f"there is no connection {conn_id}: create it ({what}) in Admin > Connections, or "
            f"set {variable}"
        ) from error


def _warehouse(conn_id: str) -> Any:
    found = connection(conn_id, "of a provider of common.sql")
    hook = None if found.conn_type in WITHOUT_HOOK else _hook(found)
    if not hasattr(hook, "get_records"):  # every DbApiHook has it
        raise ConfigurationError(
            f"the connection {conn_id} is of the type {found.conn_type}, which is no database: "
            "choose the type of your database"
        )
    return hook


def _hook(found: Connection) -> Any:
    """The hook of a warehouse. Raises ConfigurationError with the name of a missing package."""
    kind = found.conn_type or ""
    try:
        return _as_in_tasks(found).get_hook()
    except ImportError as error:
        raise ConfigurationError(
            f"the driver of the connection {found.conn_id} (type {kind}) can't be loaded, as "
            f"{error.name or 'a module'} is not installed: install it where Airflow's tasks run, "
            f"with {_package(kind)}"
        ) from error
    except AirflowException as error:
        if not kind:
            raise ConfigurationError(
                f"the connection {found.conn_id} has no type: choose the type of your database"
            ) from error
        raise ConfigurationError(
            f"no installed provider knows the type {kind} of the connection {found.conn_id}: "
            f"install {_package(kind)} where Airflow's tasks run, or correct the type"
        ) from error


def _as_in_tasks(found: Any) -> Connection:
    """A connection of Airflow's database as an SDK one, whose class reports an unknown type."""
    if isinstance(found, Connection):
        return found
    kept = ("conn_id", "conn_type", "host", "schema", "login", "password", "port", "extra")
    return Connection(**{name: getattr(found, name) for name in kept})


def _package(kind: str) -> str:
    return f"apache-airflow-providers-{PACKAGES.get(kind, kind.replace('_', '-'))}"


WITHOUT_HOOK = ("generic", "email")
# Connection types whose provider package has another name.
PACKAGES = {
    **{"gcpbigquery": "google", "google_cloud_platform": "google", "gcpcloudsql": "google"},
    **{"redshift": "amazon", "athena": "amazon", "mssql": "microsoft-mssql"},
    **{"azure_synapse": "microsoft-azure", "hive_cli": "apache-hive"},
    **{"hiveserver2": "apache-hive", "impala": "apache-impala", "drill": "apache-drill"},
    **{"pinot": "apache-pinot", "druid": "apache-druid", "kylin": "apache-kylin"},
}


def _stop_list_key() -> Key:
    """The key of the stop list's hashes; read only if there are hashes."""
    return Key.of(connection(STOP_LIST_KEY, "of any type, the key as its password").password or "")


def _ledger_url() -> sa.URL:
    found = connection(LEDGER, "type postgres")
    host = found.host or "localhost"
    options = {key: str(value) for key, value in found.extra_dejson.items() if key in LIBPQ}
    if host.startswith("/"):  # a folder of Unix sockets does not fit into a URL's host
        options["host"] = host
    return sa.URL.create(
        "postgresql+psycopg",
        username=found.login,
        password=found.password or None,
        host=None if "host" in options else host,
        port=found.port,
        database=found.schema or found.login,
        query=options,
    )


LIBPQ = ("sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name")
