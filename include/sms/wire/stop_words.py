"""Opt-out requests in free replies: which count as a STOP, which an operator must read (R35).

A row of a STOP report always opts out, whatever its text. Free replies (SMSMO) are checked here. A
missed opt-out breaks the law, one too many costs a message. So a short reply with a form of *stop*,
*arrêter*, *désabonner*, *désinscrire*, *unsubscribe* or with one of the phrases below is a STOP, in
any case, accents, similar letters of other alphabets and spacing, also with damaged accents
(`misread`). Uncertain replies go to an operator.
"""

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from itertools import groupby, pairwise

import pyarrow as pa
import pyarrow.compute as pc

from sms.telecom.gsm import TRANSLITERATION
from sms.wire.misread import readings

SHORT = 8  # words; in a longer reply only the first word is certain
_UNSEEN = frozenset({"Mn", "Me", "Cf"})  # marks and characters without shape


class Asks(StrEnum):
    """Whether a reply asks for an opt-out."""

    YES = "yes"
    PERHAPS = "perhaps"
    NO = "no"


# Forms have no accents and no doubled letters, as in "stopp".
SHORT_FORM = r"stop(?:e[rszd]?|ing|al|sms|pub|mail|svp|merci)?|aret(?:e[rsz]?|z|ons)?|optout"
LONGEST_FORM, LONGEST_GLUED = 12, 60  # letters
IN_PIECES = re.compile(SHORT_FORM)  # not FORM: "des abonnements" is no "désabonnements"
FORM = re.compile(
    rf"{SHORT_FORM}|s(?:otp|tpo)|tsop|[cs]to[пπ]"
    r"|haret(?:e[rsz]?|ons)?|arte[rz]|(?:d[sz]|de[sz]?)ab[on]\w*|de[sz]?in?scri\w*|de[sz]?incri\w*"
    r"|unsub\w*|unsuscri\w*"
)
# Words that people write next to a form without a space. "STOPPUB" has one p for two.
GLUE = (
    r"(?:merci|svp|stp|vp|please|plz|bonjour|bjr|sms|textos?|mesages?|msg|mails?|spams?|pubs?"
    r"|publicites?|promos?|ofres?|envois?|contacts?|marketing|newsleters?|infos?|tel|apels?|tout|tous"
    r"|plus|now|maintenant|moi|me|je|les?|la|vos|votre|cete|ces|des?|aux?|stop)"
)
GLUED = re.compile(
    rf"{GLUE}*(?:stop(?:e[rsz])?(?:ubs?|ublicites?|romos?|lus|lease)?|h?aret(?:e[rsz]?|ons)?){GLUE}*"
    rf"|smstop|{GLUE}+(?:desabo\w*|desinscri\w*|unsub\w*)|plusdes?{GLUE}"
)
# With more around it, a word may still ask, unless it is one of these.
AROUND_STOP = re.compile(r"\w*stop\w*")
NO_STOP = re.compile(
    r"(?:non|auto|one|pit|mini|anti|ful|dor|back|short|bus|truck|cargo)stop\w*"
    r"|stop(?:over|watch|gap|light|cock|eu[rs]|age)\w*"
)
# Prefixes of an unfinished word that may become a form.
STEMS = ("stop", "arret", "desabo", "desinscri", "unsub", "optout")
# Words, and beginnings of words, that begin the phrases below.
OPENING_WORDS = frozenset(
    [
        *("ne", "n", "plus", "plu", "pu", "no", "don", "do", "remove", "delete", "take", "leave"),
        *("de", "m", "me", "nous", "cancel", "veux", "veut", "souhaite", "desire", "opt"),
    ]
)
OPENINGS = (
    *("retir", "enlev", "suprim", "supprim", "effac", "ray", "vir", "laiss", "fich", "fout"),
    *("radi", "ote", "sort", "sors", "lach", "cess", "mett", "refus"),
)
LIKE = r"(?:pubs?|publicites?|sms|textos?|messages?|msg|spams?|mails?|promos?|offres?|envois?)"
RECEIVE = r"re[cs]s?e\w{0,2}voir\w*"
CEASE = (
    rf"(?:{RECEIVE}|recoiv\w+|envoyer|envoyez|envoies?|contacter|contactez|contactee?s?|ecrire"
    r"|ecrivez|ecris|appeler|appelez|appelles?|solliciter|sollicitez|sollicitee?s?|deranger"
    r"|derangez|etre contacte\w*|(?:etre )?(?:harcel|relanc|demarch|embet|spam+)(?:er|ez|ee?s?))"
)
TAKE_OFF = r"(?:retir|enlev|sup+r?im|effac|ray|vir|ot|radi)"
# Personal data in a list; a parcel, for example, is not.
LISTED = (
    r"(?:n|no|nr|num|numeros?|noms?|tel\w*|portable|mobile|gsm|coordon\w+|donnees?|adresse|mail|email"
    r"|contact|inscription|abon\w+|profil|compte|fiche|ligne)"
)
PHRASE = re.compile(
    r"\bde s(?:abo|abon\w+|inscri\w+)\b|\bopt (?:me )?out\b|\bcancel (?:my |the )?subscription\b"
    r"|\b(?:remove|delete) (?:me|my)\b|\btake me off\b|\bleave me alone\b"
    rf"|\bno more {LIKE}\b|\bno more (?:texts?|ads?)\b"
    r"|\b(?:don ?t|do not) (?:text|contact|message|send|write|call|phone)\b"
    rf"|\bn ?e? (?:\w+ ){{0,3}}plus (?:\w+ ){{0,2}}{CEASE}\b"
    rf"|\bde plus (?:\w+ ){{0,2}}{CEASE}\b|\b(?:veux|veut|souhaite|desire) plus rien\b"
    rf"|\bplus (?:rien )?{RECEIVE}"
    rf"|\b(?:ne|n|me|m) (?:\w+ )?(?:{CEASE}|rappel\w+) plus\b(?! (?:tard|tot|vite|souvent)\b)"
    r"|\bn en (?:veux|veut|souhaite|desire) plus\b"
    rf"|\bplus (?:de |d |aucune?s? )(?:\w+ )?{LIKE}\b"
    rf"|\bne? (?:\w+ ){{1,2}}plus (?:de |d )(?:\w+ )?info\w*"
    rf"|\b{TAKE_OFF}(?:ez|er|e|es) (?:moi|nous|(?:mon|ma|mes|ce|cette|le|la) {LISTED})\b"
    rf"|\b(?:me|m|nous) {TAKE_OFF}er\b|\b(?:sortez|sortir|sors) (?:moi|nous) de\b|\bme sortir de\b"
    r"|\b(?:laiss|fich|fout)(?:ez|er|e|es)(?: moi| nous)? (?:tranquille|la paix|en paix)\b"
    rf"|\b(?:veux|veut|souhaite|desire) pas (?:{RECEIVE} (?:\w+ ){{0,2}}|de |d |vos ){LIKE}\b"
    rf"|\bne (?:me|m) {CEASE} pas\b"
    r"|\blach(?:ez|er|e|es) (?:moi|nous)\b"
    r"|\bcess(?:ez|er|e) (?:d |de |vos |les |ces |tous )|\bmett(?:ez|re) fin\b|\bm oppose\b"
    rf"|\brefuse (?:de {RECEIVE}|(?:\w+ )?{LIKE})\b"
    rf"|\b(?:voudrais|veux|souhaite|aimerais|desire|demande a|merci d) (?:\w+ )?etre {TAKE_OFF}e\w*"
)
# Spellings by sound, and words that are written together; "je n'ai pas pu recevoir" stays.
BY_SOUND = (
    (re.compile(r"\bplu\b|\bpu(?= (?:de|d|aucun)\b)"), "plus"),
    (re.compile(r"\bj?(?:veu|ve|vx|veus)(?= (?:plus?|pu|pas?|que)\b)"), "veux"),
    (re.compile(r"\bj(?=veux\b)"), "je "),
    (re.compile(r"\bjen\b"), "j en"),
    (re.compile(r"\bvo\b"), "vos"),
    (re.compile(r"\bpa(?= (?:de|d|vos)\b)"), "pas"),
    (re.compile(r"(?<=\bveux )pu\b"), "plus"),
)
# The same words with another meaning.
OTHER = re.compile(
    r"\b(?:non|auto|one|pit|mini|anti|full)-stop\b"
    r"|\bstop (?:ou encore|and go)\b|\bstop-and-go\b"
    r"|\b(?:en|un|une|l|d|cet|du|au|sans|chaque|prochain|mon|son|votre|notre) arrets?\b"
    rf"(?! de m| d\w* (?:\w+ )?{LIKE}\b)"
    r"|\barrets? (?:maladie|de (?:bus|tram\w*|travail|train|metro|car|jeu)|cardiaque)\b"
    rf"|\barrets? du? (?!{LIKE}\b)\w+\b"
)
# Sentences that may be about a shop, or about our messages.
ELSEWHERE = re.compile(
    r"\b(?:s|m|t|nous|me|te|se)(?: (?:est|es|suis|sommes|etes))? arr?et\w*"
    r"|\b(?:avez|ont|ai|as|avons|est|etait|sont) arr?et(?:e|es|ee|ees)\b"
    r"|\b(?:arriv\w+|peux|peut|pouvons|reussi\w*) (?:plus|pas) (?:\w )?(?:vous|nous|te|les?|la)\b"
    r"|\b(?:y (?:a|avait|aura)|reste\w*|avez|aurez)\W(?:\w+\W){0,2}?plus (?:de|d|aucune?)\b"
)
MAYBE = re.compile(
    r"\b(?:resili|refus|oppos|harcel|sup+r?im|sup+res+ion|tran[kq]u?il|desactiv|arnaqu|escro)\w*"
    r"|\b(?:effacement|inutile|hors de question|liste rouge|droit a l oubli)\b"
    r"|\b(?:pas|plus) la peine\b|\b(?:foutre|emmerd\w*|casse\w? toi|f\w+ le camp)\b"
    rf"|\b(?:{TAKE_OFF}|exclu)\w* (?:de|du|des) (?:la |les |vos |votre |ce |ces |cette )?"
    r"(?:listes?|fichiers?|bases?|mailings?|diffusion)\b"
    r"|\b(?:cnil|rgpd|gdpr|bloctel|npc|plainte)\b|\b(?:vous|te|je|numero) (?:\w+ )?bloqu\w*"
    r"|\bannul\w* (?:\w+ )?(?:abon|inscri|souscri)\w*"
    r"|\b(?:pas|plus) (?:\w+ )?inter+es+e\w*|\binter+es\w+ (?:pas|plus)\b"
    rf"|\bpas (?:\w+ )?(?:de |d )(?:\w+ )?{LIKE}\b|\bpas (?:(?:me|m|nous) )?{CEASE}\b"
    rf"|^(?:envoies?|envoye[rz]) plus\b|\bveux pas (?:vos|tes|ces) {LIKE}\b"
    r"|\bplus (?:rien|jamais)(?: (?:svp|stp|merci|please|sil|te|vous|plait))*$"
    r"|\b(?:marre|suffit|ras le bol)\b|\boubli\w+ (?:moi|mon)\b"
    r"|\b(?:mauvais|wrong|tromp\w+ de|erreur de|pas (?:mon|le bon)) num(?:ero|ber)\b"
    # the number belongs to another person
    r"|\b(?:tromp|erreur|mauvais)\w*(?: de| d| la)? (?:personne|destinataire|interlocut\w+)\b"
    r"|\bpas (?:la|le) (?:bon\w* )?(?:personne|destinataire)\b|\bconnais pas (?:cette|ce|de)\b"
    r"|\bchange de (?:num\w*|n|tel\w*|portable|mobile|ligne)\b|\b(?:deced\w+|deces|defunte?)\b"
    r"|\b(?:ferm|clotur)\w+ (?:mon|le|ce) compte\b|\bquitter (?:la|cette|votre) liste\b"
    r"|\b(?:me|a) retirer?$|\b(?:don ?t|do not) want\b|\bno (?:messages?|sms|texts?|pub)\b"
    r"|\brecois plus\b|\bplus (?:de |d )(?:\w+ )?info\w*|\ben (?:veux|veut) plus\b"
    r"|\bno quiero\b|\bnao quero\b|\bnon voglio\b|\bpa (?:vle|voye)\b"
    r"|\bkeine? (?:sms|werbung|nachrichten)\b|\bgeen (?:sms|reclame|berichten)\b"
    r"|\b(?:abmelden|abbestellen|afmelden|uitschrijven|disiscri\w+)\b"
)
NEARLY_STOP = re.compile(
    r"(?!(?:top|stp|shop|step)$)"
    r"(?:[a-z]?top|s[a-z]?op|st(?:au|eau)pe?|estope?|st[a-z]?p|sto[a-z]?"
    r"|[a-z]stop|s[a-z]top|st[a-z]op|sto[a-z]p|stop[a-z])"
)
DENIED = re.compile(r"\b(?:ne|n|pas) (?:\w+ )?(?:pas )?stop\b|\bdon ?t stop\b|\bnon stop\b")
# Words that may be an opt-out if the reply has only polite words besides.
NO_ALONE = frozenset(
    [
        *("non", "no", "nan", "nein", "niet", "ko", "fin", "end", "quit", "cancel", "annuler"),
        *("annulez", "annulation", "assez", "basta", "marre", "pub", "publicite", "spam"),
        *("halte", "cesser", "cessez", "suffit", "resilier", "resiliation", "resiliez", "degage"),
        *("jamais", "degagez", "retrait", "rayer", "radiation", "exclure", "blacklist"),
        *("remove", "delete", "enough", "nomore", "unscribe", "baja", "alto"),
        *("nn", "nop", "nope", "bloquer", "bloquez", "bloque", "quitter", "quittez", "fini"),
        *("termine", "terminer", "terminez", "couper", "coupez", "aretait", "arretait"),
    ]
)
POLITE = frozenset(
    [
        *("merci", "svp", "stp", "sil", "si", "il", "vous", "te", "plait", "bonjour", "bonsoir"),
        *("bjr", "slt", "salut", "madame", "monsieur", "cordialement", "please", "hello", "hi"),
        *("et", "c", "est", "a", "moi", "tout", "svpl", "sms", "vos", "ces", "les"),
        *("re", "tr", "fwd", "ca", "va", "ok", "de", "d", "thanks", "thank", "thx", "you"),
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
_A_LETTER = re.compile(
    r"(?:NEGATIVE (?:CIRCLED|SQUARED) )?LATIN (?:CAPITAL |SMALL )?LETTER (?:SMALL CAPITAL )?([A-Z])"
    r"(?: WITH .*)?"
)
_IN_DIGITS = re.compile(
    r"(?<![^\W_])[s5]([\W_]{0,2})[t7]([\W_]{0,2})[o0@]([\W_]{0,2})p(?![^\W\d_])"
)
_PLUS_SIGN = re.compile(r"(?:(?<![\w+])\+ ?|\bplus )(?:de\b|d(?= )|2(?= [^\W\d]))")
# From the beginning of a word, and without going back in it: the time is linear in its length.
_HYPHENED = re.compile(r"(?<![^\W\d_])[^\W\d_]++(?:[-\u2010-\u2015][^\W\d_]++)+")
_LATIN_MARKS = ("LATIN", "MODIFIER LETTER")


def asks_to_stop(text: str) -> Asks:
    """Whether a reply asks for an opt-out; YES is certain."""
    strongest = Asks.NO
    for reading in readings(text):
        match _asks_to_stop(reading):
            case Asks.YES:
                return Asks.YES
            case Asks.PERHAPS:
                strongest = Asks.PERHAPS
    return strongest


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
    certain = ELSEWHERE.sub(" ", left)
    if _speaks_of_stop(certain):
        # "Non stop" alone may be an opt-out; with more words it may be about opening hours.
        denied = DENIED.search(certain) and words != ["non", "stop"]
        return Asks.PERHAPS if denied or _size(words) > SHORT else Asks.YES
    unsure = MAYBE.search(_sounding(words)) or any(map(_may_be_glued, WORD.findall(certain)))
    if certain != left or unsure or _is_of_other_letters(text):
        return Asks.PERHAPS
    bare = {word for word in words if word not in POLITE}
    return Asks.PERHAPS if bare and all(map(_is_no, bare)) else Asks.NO


def opts_out(texts: pa.Array | pa.ChunkedArray) -> pa.BooleanArray:
    """Which replies of a column opt out."""
    return _are(texts, Asks.YES)


def may_opt_out(texts: pa.Array | pa.ChunkedArray) -> pa.BooleanArray:
    """Which replies of a column may be an opt-out, for an operator to read."""
    return _are(texts, Asks.PERHAPS)


def _are(texts: pa.Array | pa.ChunkedArray, wanted: Asks) -> pa.BooleanArray:
    """Check each distinct text once: most replies consist of the same few words."""
    encoded = pc.dictionary_encode(pc.fill_null(texts, ""))
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.unify_dictionaries().combine_chunks()
    flags = [asks_to_stop(text) is wanted for text in encoded.dictionary.to_pylist()]
    return pa.array(flags, pa.bool_()).take(encoded.indices)


def speaks_of_stop(text: str) -> bool:
    """Whether any word or phrase of a text, of any length, asks for an opt-out."""
    return any(_speaks_of_stop(_plain(reading)) for reading in readings(text))


def may_become_stop(text: str) -> bool:
    """Whether an unfinished text may still become a STOP.

    Checks its last word, and words that begin a phrase.
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
    if any(map(_is_form, words)) or PHRASE.search(_sounding(words)):
        return True
    if any(_is_form(re.sub(r"\W", "", each)) for each in _HYPHENED.findall(plain)):
        return True
    return any(_is_form(joined, IN_PIECES) for joined in _joined(words))


def _plain(text: str) -> str:
    """A text in small Latin letters; similar letters of other alphabets are replaced."""
    text = text.replace("\0", "")  # UTF-16 read in another encoding
    if not text.isascii() or "$" in text:
        text = _latin(text)
    text = re.sub(r"\s+", " ", text.replace("'", " ").casefold())
    text = _PLUS_SIGN.sub("plus de", text)
    text = re.sub(r"(?<=[^\W\d_])0(?=[^\W\d_])", "o", text)
    return _IN_DIGITS.sub(r"s\1t\2o\3p", re.sub(r"\b5(?=top)", "s", text))


def _latin(text: str) -> str:
    large = "".join(map(_large, unicodedata.normalize("NFKD", text)))
    wide = large.upper().translate(_LOOK_ALIKE)
    return "".join(sign for sign in wide if unicodedata.category(sign) not in _UNSEEN)


def _large(sign: str) -> str:
    letter = None if sign.isascii() else _A_LETTER.fullmatch(unicodedata.name(sign, ""))
    return letter[1] if letter else sign


def _sounding(words: list[str]) -> str:
    """The words joined by spaces, with the frequent spellings by sound."""
    sounding = " ".join(words)
    for spelling, meant in BY_SOUND:
        sounding = spelling.sub(meant, sounding)
    return sounding


def _is_of_other_letters(text: str) -> bool:
    """Whether most letters are of an alphabet that is not checked."""
    if text.isascii():
        return False
    letters = [sign for sign in unicodedata.normalize("NFKD", text) if sign.isalpha()]
    others = [
        sign
        for sign in letters
        if not sign.isascii() and not unicodedata.name(sign, "").startswith(_LATIN_MARKS)
    ]
    return 2 * len(others) > len(letters)


def _is_no(word: str) -> bool:
    """Whether a word may be an opt-out in a reply with little else."""
    return word in NO_ALONE or NEARLY_STOP.fullmatch(word) is not None


def _is_form(word: str, form: re.Pattern[str] = FORM) -> bool:
    plain = _undoubled(word)
    return form.fullmatch(plain) is not None or (
        form is FORM and len(word) <= LONGEST_GLUED and GLUED.fullmatch(plain) is not None
    )


def _may_be_glued(word: str) -> bool:
    """Whether a word that is no form has one in it: "stoptonbazar", and no "stopover"."""
    plain = _undoubled(word)
    return AROUND_STOP.fullmatch(plain) is not None and NO_STOP.fullmatch(plain) is None


def _undoubled(word: str) -> str:
    return re.sub(r"(\w)\1+", r"\1", word)


def _joined(words: list[str]) -> Iterator[str]:
    """Yield words that may be torn: two neighbours, or a run of words of one or two letters."""
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
    """The number of words, without single letters that an apostrophe separated."""
    return sum(len(word) > 1 for word in words)


def _holds_symbol(text: str) -> bool:
    return any(unicodedata.category(sign) == "So" for sign in text)
