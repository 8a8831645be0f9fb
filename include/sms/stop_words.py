"""Does a reply ask to be left alone? What counts as a STOP, and what a person should look at (R35).

A row of a STOP report always opts out, whatever its text. A free reply (SMSMO) is judged here. A
no that is not heard breaks the law, one that is heard too many costs a message: so a short reply
that holds a form of *stop*, *arrêter*, *désabonner*, *désinscrire*, *unsubscribe* or one of the
phrases below is a STOP, in whatever case, accents, letters of other alphabets and spacing, also
where its accents were lost on the way (`misread`). What may ask, and is not certain, goes to a
person.
"""

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby, pairwise

import pyarrow as pa
import pyarrow.compute as pc

from sms.gsm import TRANSLITERATION
from sms.misread import readings

SHORT = 8  # words; of a longer reply only the first word is certain
_UNSEEN = frozenset({"Mn", "Me", "Cf"})  # marks, and signs without a shape


class Asks(StrEnum):
    """Whether a reply asks to be left alone."""

    YES = "yes"
    PERHAPS = "perhaps"
    NO = "no"


# All forms are written without accents, and without doubled letters: people write "stopp".
SHORT_FORM = r"stop(?:e[rszd]?|ing|al|sms|pub|mail|svp|merci)?|aret(?:e[rsz]?|ons)?|optout"
LONGEST_FORM = 12  # letters
IN_PIECES = re.compile(SHORT_FORM)  # "des abonnements" are no "désabonnements"
FORM = re.compile(
    rf"{SHORT_FORM}|s(?:otp|tpo)|tsop"
    r"|de[sz]ab[on]\w*|de[sz]?in?scri\w*"
    r"|unsub\w*|unsuscri\w*"
)
# What a word that is not whole yet may become.
STEMS = ("stop", "arret", "desabo", "desinscri", "unsub", "optout")
# What begins the phrases below: words, and beginnings of words.
OPENING_WORDS = frozenset(
    ["ne", "n", "plus", "no", "don", "do", "remove", "delete", "take", "leave"]
)
OPENINGS = ("retir", "enlev", "suprim", "supprim", "effac", "ray", "vir", "laiss", "fich", "fout")
LIKE = r"(?:pubs?|publicites?|sms|textos?|messages?|msg|spams?|mails?|promos?|offres?|infos?)"
CEASE = (
    r"(?:recevoir|reco\w+|envoyer|envoyez|contacter|contactez|contactee?s?|ecrire|ecrivez|appeler"
    r"|appelez|solliciter|sollicitez|sollicitee?s?|deranger|derangez|etre contacte\w*)"
)
PHRASE = re.compile(
    r"\bopt out\b"
    r"|\b(?:remove|delete) (?:me|my)\b|\btake me off\b|\bleave me alone\b"
    rf"|\bno more {LIKE}\b|\bno more (?:texts?|ads?)\b"
    r"|\b(?:don ?t|do not) (?:text|contact|message|send|write)\b"
    rf"|\bn ?e? (?:\w+ ){{0,3}}plus (?:\w+ ){{0,2}}{CEASE}\b"
    rf"|\bplus (?:rien )?recevoir\b|\b(?:ne|n|me|m) (?:\w+ )?{CEASE} plus\b"
    rf"|\bplus (?:de |d |aucune?s? )(?:\w+ )?{LIKE}\b"
    r"|\b(?:retir|enlev|suppr?im|effac|ray|vir)(?:ez|er|e|es) (?:moi|mon|mes|ce) ?\w*"
    r"|\b(?:laiss|fich|fout)(?:ez|er|e|es)(?: moi| nous) (?:tranquille|la paix)\b"
)
# A word of the above that means something else here.
OTHER = re.compile(
    r"\b(?:non|auto|one|pit|mini|anti|full)-stop\b"
    r"|\bstop (?:ou encore|and go)\b|\bstop-and-go\b"
    r"|\b(?:en|un|une|l|d|cet|du|au|sans|chaque|prochain|mon|son|votre|notre) arrets?\b(?! de m)"
    r"|\barrets? (?:maladie|de (?:bus|tram\w*|travail|train|metro|car|jeu)|cardiaque|du? \w+)\b"
)
DENIED = re.compile(r"\b(?:ne|n|pas) (?:\w+ )?(?:pas )?stop\b|\bdon ?t stop\b|\bnon stop\b")
# The whole of a reply, beside polite words, that may be a no.
NO_ALONE = frozenset(
    [
        *("non", "no", "nan", "nein", "niet", "ko", "fin", "end", "quit", "cancel", "annuler"),
        *("annulez", "annulation", "assez", "basta", "marre", "pub", "publicite", "spam"),
        *("halte", "cesser", "cessez", "suffit", "resilier", "resiliation", "resiliez", "degage"),
        "jamais",
    ]
)
POLITE = frozenset(
    [
        *("merci", "svp", "stp", "sil", "si", "il", "vous", "te", "plait", "bonjour", "bonsoir"),
        *("bjr", "slt", "salut", "madame", "monsieur", "cordialement", "please", "hello", "hi"),
        *("re", "tr", "fwd", "ca", "ok", "de", "d"),
    ]
)
WORD = re.compile(r"[^\W\d_]+")

_LOOK_ALIKE = str.maketrans(
    {
        **{sign: other for sign, other in TRANSLITERATION.items() if other.isalpha()},
        **{"Σ": "S", "Ø": "O", "$": "S"},
        **{chr(0x1F1E6 + place): chr(ord("A") + place) for place in range(26)},  # of flags
        **dict.fromkeys("’ʼ`´", "'"),
    }
)


def asks_to_stop(text: str) -> Asks:
    """Whether a reply asks to be left alone; one that says so certainly opts out."""
    found = Asks.NO
    for reading in readings(text):
        match _asks_to_stop(reading):
            case Asks.YES:
                return Asks.YES
            case Asks.PERHAPS:
                found = Asks.PERHAPS
    return found


def _asks_to_stop(text: str) -> Asks:
    plain = _plain(text)
    words = WORD.findall(plain)
    if not words:
        return Asks.PERHAPS if _holds_symbol(text) else Asks.NO
    if (_is_form(words[0]) and not OTHER.match(plain.lstrip())) or _is_form(
        "".join(words), IN_PIECES
    ):
        return Asks.YES
    left = OTHER.sub(" ", plain)
    if _speaks_of_stop(left):
        # "Non stop" alone is a no, with more words it may be about opening hours.
        denied = DENIED.search(left) and words != ["non", "stop"]
        return Asks.PERHAPS if denied or _size(words) > SHORT else Asks.YES
    bare = {word for word in words if word not in POLITE}
    return Asks.PERHAPS if bare and bare <= NO_ALONE else Asks.NO


def opts_out(texts: pa.Array | pa.ChunkedArray) -> pa.BooleanArray:
    """Which replies of a column opt out."""
    return _judged(texts, Asks.YES)


def may_opt_out(texts: pa.Array | pa.ChunkedArray) -> pa.BooleanArray:
    """Which replies of a column may ask to be left alone, and are for a person to read."""
    return _judged(texts, Asks.PERHAPS)


def _judged(texts: pa.Array | pa.ChunkedArray, wanted: Asks) -> pa.BooleanArray:
    """Most people write the same few words, so each text is judged once."""
    found = pc.dictionary_encode(pc.fill_null(texts, ""))
    if isinstance(found, pa.ChunkedArray):
        found = found.unify_dictionaries().combine_chunks()
    judged = [asks_to_stop(text) is wanted for text in found.dictionary.to_pylist()]
    return pa.array(judged, pa.bool_()).take(found.indices)


def speaks_of_stop(text: str) -> bool:
    """Whether any word or phrase of a text asks to be left alone, however long the text is."""
    return any(_speaks_of_stop(_plain(reading)) for reading in readings(text))


def may_become_stop(text: str) -> bool:
    """Whether a text that is not whole yet may still turn out to be a STOP.

    By its last word, or by any that begins a phrase.
    """
    return any(map(_may_become_stop, readings(text)))


def _may_become_stop(text: str) -> bool:
    words = WORD.findall(plain := _plain(text))
    if any(word.startswith(OPENINGS) or word in OPENING_WORDS for word in words):
        return True
    last = words[-1:] if plain[-1:].isalpha() else []
    pieces = ["".join(words), *last]
    return any(
        stem.startswith(piece) or piece.startswith(stem) for stem in STEMS for piece in pieces
    ) or any(each.startswith(piece) for each in (*OPENINGS, *OPENING_WORDS) for piece in last)


def _speaks_of_stop(plain: str) -> bool:
    words = WORD.findall(plain)
    if any(map(_is_form, words)) or PHRASE.search(" ".join(words)):
        return True
    return any(_is_form(joined, IN_PIECES) for joined in _joined(words))


def _plain(text: str) -> str:
    """A text in small Latin letters, as far as its letters look like some."""
    text = text.replace("\0", "")  # of UTF-16, read as something else
    if not text.isascii() or "$" in text:
        text = _latin(text)
    return re.sub(r"(?<=[^\W\d_])0(?=[^\W\d_])", "o", text.replace("'", " ").casefold())


def _latin(text: str) -> str:
    wide = unicodedata.normalize("NFKD", text).upper().translate(_LOOK_ALIKE)
    return "".join(sign for sign in wide if unicodedata.category(sign) not in _UNSEEN)


def _is_form(word: str, form: re.Pattern[str] = FORM) -> bool:
    return form.fullmatch(re.sub(r"(\w)\1+", r"\1", word)) is not None


def _joined(words: list[str]) -> Iterator[str]:
    """What people may have torn apart: two neighbours, or all neighbours of one or two letters."""
    yield from map("".join, pairwise(words))
    for is_short, run in groupby(words, lambda word: len(word) <= 2):
        if is_short:
            letters = [*run]
            yield from (
                "".join(letters[begin:end])
                for begin in range(len(letters))
                for end in range(begin + 2, min(begin + LONGEST_FORM, len(letters)) + 1)
            )


def _size(words: list[str]) -> int:
    """How many words a reply has; letters that an apostrophe left over are none."""
    return sum(len(word) > 1 for word in words)


def _holds_symbol(text: str) -> bool:
    return any(unicodedata.category(sign) == "So" for sign in text)
