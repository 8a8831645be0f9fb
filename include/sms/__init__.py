"""Mass SMS campaigns by MTarget's SFTP gateway: everything but Airflow.

With pandas, in a notebook or a script:

    import sms

    made = sms.prepare("spring_sale", recipients=people, stop_list=stopped, at="2027-03-15T10:00")
    made.excluded.value_counts("reason")
    made.write("prepared")

`sms.screen` only says who would be written to, `sms.check_file` what is wrong with a file for the
gateway, `sms.slots` when marketing may go out. They are loaded when they are first named.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sms.frames import Prepared, Screened, check_file, prepare, screen, slots

__all__ = ["Prepared", "Screened", "check_file", "prepare", "screen", "slots"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sms import frames

    return getattr(frames, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
