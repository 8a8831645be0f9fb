"""Whether people can use the stop mention where they are.

Which way to refuse there is depends on the destination, told by the number's prefix (spec, the
warning at its head): a short code is one country's, a long number and a page are everybody's.
"""

import re
from collections.abc import Iterable

from sms.campaign import PAGE, Campaign, Kind

HOME = "FR"  # whose short codes the provider gives
LONG_NUMBER = re.compile(r"\+[\d .-]{8,}\d|\b\d{9,15}\b")


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
