"""`python -m demo` runs a campaign on this machine; `python -m demo up` keeps the stack running."""

import argparse
import os
import shlex
import signal
import sys
import time
from contextlib import suppress
from datetime import datetime
from types import FrameType

import httpx
from rich.console import Console

from demo.airflow_api import AirflowRefused
from demo.environment import GATEWAY, connections
from demo.play import BOUND, HURRY, SEND, DemoFailed, Play, opening
from demo.processes import ProcessDied
from demo.screen import Screen
from demo.stack import Stack
from demo.story import COLLECT_REPLIES, COLLECT_REPORT
from sms.clock import PARIS

FAILURES = (DemoFailed, ProcessDied, AirflowRefused, TimeoutError)


def demo(screen: Screen, *, keep: bool) -> int:
    """Run a campaign from query to delivery report; 0 only if all counts reconcile."""
    begun = time.monotonic()
    start = opening(datetime.now(PARIS).date())
    screen.say(f"In the sandbox it is {start:%A %d %B %Y, %H:%M} in Paris; days pass in seconds")
    stack = Stack(
        hurry=HURRY, clock=start, flags=("--marketing", "spring*"), keep=keep, say=screen.say
    )
    with stack:
        Play(stack, screen, deadline=begun + BOUND).perform()
    screen.say(f"All counts match. {time.monotonic() - begun:.0f} s; no process is left running")
    return 0


def up(screen: Screen, *, keep: bool) -> int:
    """Keep the stack running until Ctrl-C."""
    own = connections(os.environ)
    real = GATEWAY in own
    start = None if real else opening(datetime.now(PARIS).date())
    with Stack(hurry=HURRY, clock=start, connections=own, keep=keep, say=screen.say) as stack:
        stack.unpause(COLLECT_REPORT, COLLECT_REPLIES)
        screen.say("")
        screen.say(f"  {stack.airflow.url}")
        screen.say(f"  login {stack.airflow.login}, password {stack.airflow.password}")
        screen.say("")
        screen.say(f"Try: unpause {SEND} and trigger it; read its review; wait for its report.")
        screen.say(f"The files of each run are in {stack.folder}/runs")
        screen.say("Query the ledger, for example: SELECT * FROM sms.campaign_summary")
        screen.say(f"  psql -h {stack.postgres.socket_folder} -U postgres ledger")
        screen.say("To use `sms` in another shell with the same ledger, settings and clock:")
        for name, value in stack.for_a_shell.items():
            screen.say(f"  export {name}={shlex.quote(value)}")
        if real:
            screen.say(f"{GATEWAY} is set: campaigns are sent to that gateway, in real time.")
        else:
            screen.say(f"The sandbox's files are in {stack.folder}/gateway/home")
            screen.say("Nothing leaves this machine. While no campaign is being sent, days pass in")
            screen.say("seconds until the reports come.")
        if others := sorted(own.keys() - {GATEWAY}):
            screen.say(f"Your own connections are used: {', '.join(others)}.")
        screen.say("Ctrl-C ends everything.")
        while True:
            stack.check()
            with suppress(AirflowRefused, httpx.TransportError):  # it is tried again soon
                stack.hold_time()
            time.sleep(1)


def _end(number: int, frame: FrameType | None) -> None:
    """End as with Ctrl-C, so that every `with` block cleans up."""
    raise SystemExit(128 + number)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("demo", "up"), default="demo")
    parser.add_argument("--keep", action="store_true", help="leave logs and files behind")
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's `&` ignores it
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    screen = Screen(Console(highlight=False))
    play = {"demo": demo, "up": up}[arguments.what]
    try:
        return play(screen, keep=arguments.keep)
    except KeyboardInterrupt:
        screen.say("ended")
        return 0 if arguments.what == "up" else 130
    except FAILURES as error:
        screen.say(f"It failed: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
