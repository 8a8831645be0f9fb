"""Whether people can use the stop mention where they are, and are told but one.

Which way to refuse there is depends on the destination, told by the number's prefix (spec, the
warning at its head): a short code is one country's, a long number and a page are everybody's.
"""

import re
from collections.abc import Iterable, Iterator

from sms.campaign.definition import PAGE, Campaign, Kind
from sms.campaign.template import Template
from sms.yaml_files import DocumentFault

HOME = "FR"  # whose short codes the provider gives
LONG_NUMBER = re.compile(r"\+[\d .-]{8,}\d|\b\d{9,15}\b")

TO_A_CODE = re.compile(
    r"\bstop(?:\W{1,3}(?:(?:au|sms|to)\W{1,3})?)?\d(?:[\d .]{3,}\d)", re.IGNORECASE
)


def doubled(text: Template, mention: str | None) -> Iterator[DocumentFault]:
    """Where a text says how to refuse, and not as the stop mention does, which is said as well."""
    for words in text.words if mention else ():
        for found in TO_A_CODE.finditer(words.text):
            said = " ".join(found[0].split())
            if said not in str(mention):
                problem = (
                    f"{said!r} is not the stop_mention of campaign.yaml, so {mention!r} is added "
                    "behind the text: write the same in both, or leave it out of the text"
                )
                yield DocumentFault(words.line + words.text.count("\n", 0, found.start()), problem)


def unreached(campaign: Campaign, countries: Iterable[str]) -> str | None:
    """The warning on those of some countries whose phones a short code may not reach, if any."""
    mention = campaign.stop_mention
    if campaign.kind is not Kind.MARKETING or mention is None:
        return None
    if PAGE.search(mention) or LONG_NUMBER.search(mention):
        return None
    abroad = sorted(set(countries) - {HOME})
    if not abroad:
        return None
    return (
        f"{mention!r} names a short code, which works in its own country: ask the provider whether "
        f"numbers of {', '.join(abroad)} reach it. If not, write a long number or a page that "
        "works there, or send to these countries by a campaign with a stop mention of its own"
    )
