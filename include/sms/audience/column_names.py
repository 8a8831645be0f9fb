"""The meaning of a query's columns by their names, in many spellings.

An optional column under another name would be ignored silently: an opt-out, or a postcode that
decides the open hours.
"""

import re
import unicodedata
from collections.abc import Sequence
from difflib import get_close_matches

OPTED_OUT = "opted_out"  # the query's optional column, in any case and with any separators
OPT_OUT_NAMES = ("optedout", "optout")  # without separators, in lower case
# Other names of such a column, in neighbouring languages and common tools; some mean the contrary.
OPT_OUT_WORDS = (
    *("optout", "optedout", "optin", "optedin", "desabo", "desinscri", "oppose", "opposition"),
    *("opposant", "unsubscri", "unsub", "blacklist", "blocklist", "blocked", "bloque", "banned"),
    *("listenoire", "listerouge", "repoussoir", "suppress", "supprim", "stopsms", "smsstop"),
    *("stoplist", "stopped", "donot", "dontc", "nepas", "neplus", "refussms", "refuspub"),
    *("consent", "pasdesms", "sanssms"),
    *("sollicitab", "prospectab", "nonsollicit", "nocall", "acceptesollicit", "accepteoffre"),
    *("rgpd", "gdpr", "bloctel", "pacitel", "robinson", "newsletter", "joignab", "contactab"),
    *("peutcontact", "becontacted", "maycontact", "accordcommercial", "droitopposition"),
    *("reachable", "revok", "revoqu", "withdrawn", "decede", "deceased", "datedeces"),
    *("afmeld", "afgemeld", "uitgeschreven", "uitschrijv", "toestemming"),
    *("abmeld", "abgemeldet", "einwilligung", "widerruf", "disiscri"),
)
# Short words, which also occur inside other words.
OPT_OUT_ALONE = re.compile(
    r"(?:date|is|has|est|flag|sms|(?:fl?g?|bl?|top|ind|cd|lb|code|client|customer)(?=stop|dnc))?"
    r"(?:(?:a(?:dit|repondu)|said|replied|reponse)?stop|interdi(?:t|ts|te|ction)|refus\w*"
    r"|exclu(?:s|re|ded?|sions?)?|aexclure|dn[cd]|np[cd]"
    r"|muted?|abonnee?s?|subscribed|deces|(?:statut|etat)abonnement|subscription(?:status|state))"
    r"(?:date|at|le|on|flag|recue?|received|client|sms|marketing|com\w*|pub\w*|mails?|all|tout|contact|tel\w*|call|appels?"
    r"|prospection|demarchage|relances?)?"
)
_CHANNEL = r"(?:sms|textos?|mkt|marketing|prospection|demarchage|pub(?:licites?)?$|commerciaux)"
_WHETHER = (
    r"(?:accept(?:e|s|ed)?|recevoir|recoit|receives?|wants?|souhaite|flag|opt|accord|allow(?:s|ed)?|autorise?s?|autorisation|permission|can|may|ok|no|non"
    r"|pas|sans|abonnee?s?|abonnement|subscri(?:bed|ber|ption)|pref\w*|stat(?:e|us|ut)|etat"
    r"|enabled?|disabled?|(?:des|de|in)?activ(?:e|ee|es|ated)|(?:in)?actif|inscrite?s?|forbidden"
    r"|block(?:ed)?|bloquee?s?|send(?!er|ing)|notifs?|fl?g|indicateur|switch|eligible)"
)
WHETHER_A_CHANNEL = re.compile(
    f"{_WHETHER}(?:de|le|la|les|aux|par)?{_CHANNEL}|{_CHANNEL}{_WHETHER}"
)
POSTCODE_NAMES = ("postcode", "postalcode", "codepostal", "zipcode")
POSTCODE_WORDS = (*POSTCODE_NAMES, "codpostal", "postleitzahl", "plz", "zip", "cp")
# Departments and communes, whose codes begin like postcodes.
AREA_WORDS = (
    *("departement", "dept", "codedept", "codedepartement", "numdept", "numerodepartement"),
    *("insee", "codeinsee", "codecommune"),
)
# For numbers in two columns, the column of the country's code.
DIALLING = re.compile(
    r"(?:tel\w*|phone|mobile|msisdn|sms|country|pays|numero)?"
    r"(?:indicatifs?|dial(?:l?ing)?(?:code)?|callingcode|isdcode|vorwahl|landnummer)"
    r"(?:tel\w*|phone|mobile|pays|national|international)?"
    r"|\w*(?:tel|phone|mobile|gsm)(?:prefix\w*|countrycode)"
)
# Columns of recipients' countries; an `id` refers to some table and is not one.
COUNTRY = re.compile(
    r"(?:shipping|billing|mailing|delivery|phone|mobile|tel\w*|numero)?"
    r"(?:(?:code|iso|nom|name)?(?:country|pays|paese|landcode|landname)(?:code|iso|nom|name|of)*"
    r"|(?:country|pays)(?:of|de)?(?:residence|phone|mobile|tel\w*))"
)
# Prefixes that mean the recipient; another owner's column, such as a store's, is an ordinary one.
OWNERS = (
    *("customer", "client", "user", "contact", "person", "personne", "member", "membre"),
    *("recipient", "home", "domicile", "address", "adresse", "residence"),
    *("shipping", "billing", "delivery", "livraison", "facturation"),
)


def means_opted_out(name: str) -> bool:
    """Whether a column is the opt-out column."""
    return _letters(name) in OPT_OUT_NAMES


def resembles_opted_out(name: str) -> bool:
    """Whether a column may be meant as the opt-out column, and is not named so."""
    letters = _letters(unicodedata.normalize("NFKD", name))
    if letters in OPT_OUT_NAMES:
        return False
    near = get_close_matches(letters, OPT_OUT_NAMES, cutoff=0.8)
    return (
        bool(near)
        or any(word in letters for word in OPT_OUT_WORDS)
        or OPT_OUT_ALONE.fullmatch(letters) is not None
        or WHETHER_A_CHANNEL.search(letters) is not None
    )


def means_dialling_code(name: str) -> bool:
    """Whether a column is the country code of numbers, such as 33."""
    return DIALLING.fullmatch(_letters(unicodedata.normalize("NFKD", name))) is not None


def means_country(name: str) -> bool:
    """Whether a column is the recipients' country; `store_country` and `country_id` are not."""
    return COUNTRY.fullmatch(_without_owner(name)) is not None


def means_postcode(name: str) -> bool:
    """Whether a column is the recipients' postcode or department; `store_postcode` is not."""
    letters = _without_owner(name)
    near = get_close_matches(letters, POSTCODE_NAMES, cutoff=0.9)
    return letters in POSTCODE_WORDS or letters in AREA_WORDS or bool(near)


def alike(name: str, present: Sequence[str]) -> str | None:
    """The existing column that a missing name probably means, such as KEY for key."""
    letters = _letters(name)
    spelt = {_letters(each): each for each in reversed(present)}
    near = get_close_matches(letters, spelt, n=1, cutoff=0.8) if letters else []
    return next(
        (each for each in present if _letters(each) == letters),
        next(
            (each for each in present if letters and _letters(each).endswith(letters)),
            spelt[near[0]] if near else None,
        ),
    )


def _without_owner(name: str) -> str:
    letters = _letters(unicodedata.normalize("NFKD", name))
    for owner in OWNERS:
        letters = letters.removeprefix(owner).removesuffix(owner)
    return letters


def unaccented(name: str) -> str:
    """A name in small letters without their accents; its signs and digits stay."""
    apart = unicodedata.normalize("NFKD", name.casefold())
    return "".join(sign for sign in apart if not unicodedata.combining(sign))


def _letters(name: str) -> str:
    return "".join(sign for sign in name.casefold() if sign.isalpha())
