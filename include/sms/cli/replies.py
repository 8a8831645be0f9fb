"""`sms replies`: replies that need an operator's decision."""

from datetime import timedelta
from typing import Annotated

import typer

from sms.cli.options import MOST_DAYS, LedgerUrl, open_ledger, person, say
from sms.words import count

replies_app = typer.Typer(no_args_is_help=True, help="Replies that need a decision.")


@replies_app.callback()
def replies() -> None:
    """Replies that need a decision."""


@replies_app.command()
def unsure(
    url: LedgerUrl,
    days: Annotated[int, typer.Option("--days", min=1, max=MOST_DAYS, help="How far back.")] = 30,
) -> None:
    """Show replies that may ask to stop, but do not clearly say so.

    A number with a clear STOP is in the stop list already. These numbers still get messages until
    they are entered.
    """
    from sms import clock
    from sms.clock import PARIS
    from sms.words import shown

    ledger = open_ledger(url, f"{person()} by sms replies unsure")
    found = ledger.people.unsure_replies(clock.now() - timedelta(days=days))
    for msisdn, reply in found:
        at = (reply.replied_at or reply.recorded_at).astimezone(PARIS)
        to = reply.campaign or reply.report
        say.print(f"+{msisdn}  {at:%Y-%m-%d %H:%M}  {to}  {shown(reply.message)}", markup=False)
    if found:
        say.print(
            "To opt numbers out, write them to a file, and run: "
            'sms stop-list import FILE --source "by hand"'
        )
    else:
        say.print(f"No reply of the last {count(days, 'day')} is unsure.")
