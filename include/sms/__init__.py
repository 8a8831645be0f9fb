"""Mass SMS campaigns through MTarget's SFTP gateway: everything except Airflow.

Use with pandas, in a notebook or a script:

    import sms

    prepared = sms.prepare(
        "spring_sale", recipients=recipients, stop_list=stop_list, at="2027-03-15T10:00"
    )
    prepared.excluded.value_counts("reason")
    prepared.write("prepared")

`sms.screen` only screens recipients, `sms.check_file` lists the faults of a file for the gateway,
`sms.slots` lists the open hours of marketing. Each is imported at its first use.
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
