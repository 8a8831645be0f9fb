"""A double of the provider, restated from the provider's own page alone.

`python -m sms_sandbox --help` runs it as a process; `Sandbox` runs it inside a test.
It imports nothing of the product: a double that shares the code under test agrees with its
mistakes. What is where:

    account      what the provider agreed with us: service id, login, options
    names        file names in Send and Report
    gsm, checks  what makes a file compliant
    hours        when marketing may be sent
    outcomes     what becomes of each message
    reports      the rows of ACK, STOP and SMSMO files
    campaigns    what the gateway remembers of the files it accepted
    provider     what happens to files, and when
    sftp, server the wire: logins, renames, dropped connections
    clock        sandbox time      knobs  every misbehaviour      journal  what really happened
    sandbox      the whole in a background thread
"""

from sms_sandbox.account import Account
from sms_sandbox.knobs import Drop, Knobs
from sms_sandbox.sandbox import Sandbox

__all__ = ["Account", "Drop", "Knobs", "Sandbox"]
