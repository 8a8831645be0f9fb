"""A double of the provider, written from the provider's own page only.

`python -m sms_sandbox --help` runs it as a process; `Sandbox` runs it inside a test.
It imports nothing of the product: a double that shares code with it would share its mistakes.
Modules:

    account      the agreement with the provider: service id, login, options
    names        file names in Send and Report
    gsm, checks  the rules of a compliant file
    hours        the open hours of marketing
    outcomes     the outcome of each message
    reports      the rows of ACK, STOP and SMSMO files
    campaigns    the gateway's memory of accepted files
    provider     the processing of files, and its timing
    sftp, server the wire: logins, renames, dropped connections
    clock        sandbox time      knobs  every misbehaviour      journal  all events
    sandbox      the gateway in a background thread
"""

from sms_sandbox.account import Account
from sms_sandbox.knobs import Drop, Knobs
from sms_sandbox.sandbox import Sandbox

__all__ = ["Account", "Drop", "Knobs", "Sandbox"]
