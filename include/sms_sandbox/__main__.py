"""The command line: `python -m sms_sandbox --root DIR`."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import get_args

from sms_sandbox.account import Account
from sms_sandbox.knobs import Attribute, Drop, Knobs
from sms_sandbox.server import CannotStart, Gateway, Plan

EPILOG = """\
DIR/ready.json appears when it listens (port, host key, clock, client key).
DIR/home is what clients see; DIR/journal.jsonl lists all events, with the reason of a rejection;
DIR/clock.json is sandbox time. DIR/knobs.json, written at any time, changes the knobs
(an object such as {"stuck": true}; their names are the fields of sms_sandbox.Knobs).
A new start with the same DIR continues where it stopped.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a gateway until SIGTERM or SIGINT."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        plan = _plan(options)
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(Gateway(plan)))
    except CannotStart as error:
        print(f"sms_sandbox: {error}", file=sys.stderr)
        return 1
    # Everything is on disk at all times, and a file under check is checked again at the next start:
    # so no thread must finish.
    os._exit(0)


async def _serve(gateway: Gateway) -> None:
    serving = asyncio.create_task(gateway.serve())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


def _plan(options: argparse.Namespace) -> Plan:
    account = Account(
        service_id=options.service_id,
        user=options.user,
        password=options.password or os.environ.get("SMS_SANDBOX_PASSWORD"),
        authorized_key=options.authorized_key,
        allow=tuple(options.allow or Account().allow),
        long_sms=options.long_sms,
        unicode=options.unicode,
        encoding=options.encoding,
        marketing=options.marketing,
        most_rows=options.most_rows,
    )
    turned = {name: getattr(options, name) for name in _KNOBS if getattr(options, name) is not None}
    turned["hidden"] = tuple(options.hide)
    return Plan(
        root=options.root,
        account=account,
        knobs=replace(Knobs(), **turned, drops=tuple(options.drop)),
        host=options.host,
        port=options.port,
        host_key=options.host_key,
        seed=options.seed,
        start=options.start,
        hurry=options.hurry,
        jumps=options.jumps,
    )


_KNOBS = {
    "latency": (float, "extra real seconds of each operation"),
    "refuse_logins": (bool, "refuse every login"),
    "silent": (bool, "never take a .csv"),
    "stuck": (bool, "leave every .lock for ever"),
    "lock_seconds": (float, "least sandbox seconds of a .lock"),
    "reject": (bool, "reject every file"),
    "ack_late_hours": (float, "delay of ACKs in sandbox hours"),
    "torn": (bool, "write the last line of a growing report in two pieces"),
    "ack_in_halves": (bool, "write half of an ACK's rows an hour after the others"),
    "packed_acks": (bool, "pack ACKs by gzip"),
    "newest_first": (bool, "rewrite growing reports with their latest rows on top"),
    "bare_reports": (bool, "write reports like the page's example: no quotes, stray blanks"),
    "report_header": (bool, "begin reports with a header"),
    "report_hour_moves": (bool, "name reports by the hour of the real send"),
    "report_copies": (bool, "write a copy of each report, with a name one hour later"),
    "rows_twice": (bool, "write two rows of each message in an ACK: sent, and the final status"),
    "balance": (int, "paid SMS in each campaign"),
    "refused": (float, "share of messages refused"),
    "not_delivered": (float, "share of messages not delivered"),
    "pending": (float, "share of messages without a final status"),
    "unreported": (float, "share of messages missing in the ACK"),
    "stop": (float, "share of reached recipients who answer STOP"),
    "reply": (float, "share of reached recipients who answer otherwise"),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sms_sandbox",
        description="A double of MTarget's SFTP gateway for mass SMS campaigns.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--root", type=Path, required=True, metavar="DIR", help="all its files")
    _add_wire(parser.add_argument_group("the wire"))
    _add_account(parser.add_argument_group("the account"))
    _add_time(parser.add_argument_group("time and chance"))
    _add_knobs(parser.add_argument_group("knobs (how it misbehaves)"))
    return parser


def _add_wire(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    group.add_argument("--port", type=int, default=0, help="port; 0 picks a free one (%(default)s)")
    group.add_argument(
        "--host-key",
        type=Path,
        metavar="FILE",
        help="private key; generated if missing (DIR/host_key)",
    )
    group.add_argument(
        "--allow",
        action="append",
        metavar="ADDRESS",
        help="address or network that may connect; repeat for several (127.0.0.1 and ::1)",
    )


def _add_account(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--service-id", default="12345", help="SERVICEID (%(default)s)")
    group.add_argument("--user", default="sms", help="login (%(default)s)")
    group.add_argument(
        "--authorized-key",
        type=Path,
        metavar="FILE",
        help="public keys that may log in; without them and a password, DIR/client_key is made",
    )
    group.add_argument("--password", help="or set SMS_SANDBOX_PASSWORD; without it, keys only")
    group.add_argument("--long-sms", action="store_true", help="allow up to 5 x 153 characters")
    group.add_argument("--unicode", action="store_true", help="send other alphabets as they are")
    group.add_argument("--encoding", default="utf-8", help="of the files (%(default)s)")
    group.add_argument(
        "--marketing",
        default="",
        metavar="PATTERN",
        help="campaign ids that keep the law's hours, such as '*' or 'spring*' (none)",
    )
    group.add_argument(
        "--most-rows", type=int, default=Account().most_rows, help="in a file (%(default)s)"
    )


def _add_time(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--seed", type=int, default=1, help="decides every outcome (%(default)s)")
    group.add_argument(
        "--start",
        type=_instant,
        metavar="ISO",
        help="sandbox time at the very first start, with its offset (now)",
    )
    group.add_argument(
        "--hurry",
        type=float,
        metavar="RATE",
        help="sandbox seconds per second while an ACK is awaited and Send is quiet",
    )
    group.add_argument(
        "--jumps", action="store_true", help="let sms_sandbox.clock.move set the clock"
    )


def _add_knobs(group: argparse._ArgumentGroup) -> None:
    for name, (kind, text) in _KNOBS.items():
        flag = f"--{name.replace('_', '-')}"
        if kind is bool:
            group.add_argument(flag, action="store_true", default=None, help=text)
        else:
            default = getattr(Knobs(), name)
            group.add_argument(flag, type=kind, metavar="N", help=f"{text} ({default})")
    group.add_argument(
        "--hide",
        action="append",
        default=[],
        choices=get_args(Attribute),
        help="leave this out of listings and stats; repeat for several",
    )
    group.add_argument(
        "--drop",
        type=_drop,
        action="append",
        default=[],
        metavar="WHEN:VERB[:N]",
        help="cut the connection before or after the n-th login, put, write, rename, remove, "
        "list, stat or get, such as after:rename:2; repeat for several",
    )


def _instant(text: str) -> datetime:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} needs its offset, such as {text}+01:00")
    return instant


def _drop(text: str) -> Drop:
    when, verb, *nth = text.split(":")
    return Drop.of({"verb": verb, "when": when, "nth": int(nth[0]) if nth else 1})


if __name__ == "__main__":
    sys.exit(main())
