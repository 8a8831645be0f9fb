"""`sms replies`: what people answered, where somebody has to read it."""

from datetime import timedelta
from typing import Annotated

import typer

from sms.cli.options import MOST_DAYS, LedgerUrl, open_ledger, person, say
from sms.words import count

replies_app = typer.Typer(no_args_is_help=True, help="What people answered.")


@replies_app.callback()
def replies() -> None:
    """What people answered."""


@replies_app.command()
def unsure(
    url: LedgerUrl,
    days: Annotated[int, typer.Option("--days", min=1, max=MOST_DAYS, help="How far back.")] = 30,
) -> None:
    """Show replies that may ask to be left alone, and are not certain to.

    Whoever asks for certain is in the stop list already. These go on being written to until
    somebody enters them.
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
            "Put the numbers of those who mean STOP into a file, and: "
            'sms stop-list import FILE --source "by hand"'
        )
    else:
        say.print(f"No reply of the last {count(days, 'day')} is left to be judged.")
