"""Checks of the stop mention: it works in each destination, and the text has no other.

The way to opt out depends on the destination, which is the number's prefix (spec, the warning at
its head): a short code works in one country, a long number and a page in all.
"""

import re
from collections.abc import Iterable, Iterator

from sms.campaign.definition import PAGE, Campaign, Kind
from sms.campaign.template import Template
from sms.yaml_files import DocumentFault

HOME = "FR"  # the country of the provider's short codes
LONG_NUMBER = re.compile(r"\+[\d .-]{8,}\d|\b\d{9,15}\b")

TO_A_CODE = re.compile(
    r"\bstop(?:\W{1,3}(?:(?:au|sms|to)\W{1,3})?)?\d(?:[\d .]{3,}\d)", re.IGNORECASE
)


def doubled(text: Template, mention: str | None) -> Iterator[DocumentFault]:
    """Yield each opt-out of the text that differs from the stop mention, which is added anyway."""
    for words in text.words if mention else ():
        for match in TO_A_CODE.finditer(words.text):
            code = " ".join(match[0].split())
            if code not in str(mention):
                problem = (
                    f"{code!r} is not the stop_mention of campaign.yaml, so {mention!r} is added "
                    "behind the text: write the same in both, or leave it out of the text"
                )
                yield DocumentFault(words.line + words.text.count("\n", 0, match.start()), problem)


def unreached(campaign: Campaign, countries: Iterable[str]) -> str | None:
    """A warning about countries where a short code may not work; None if there are none."""
    mention = campaign.stop_mention
    if campaign.kind is not Kind.MARKETING or mention is None:
        return None
    if PAGE.search(mention) or LONG_NUMBER.search(mention):
        return None
    abroad = sorted(set(countries) - {HOME})
    if not abroad:
        return None
    return (
        f"{mention!r} is a short code, which works in its own country: ask the provider whether "
        f"numbers of {', '.join(abroad)} reach it. If not, write a long number or a page that "
        "works there, or use another campaign with another stop mention for these countries"
    )
