"""Replies that ask to stop: all that a person would understand so, and no bus stop (R35)."""

from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sms.wire.stop_words import (
    Asks,
    asks_to_stop,
    may_become_stop,
    may_opt_out,
    opts_out,
    speaks_of_stop,
)

REQUESTS = [
    *("STOP", "stop", "  stop !", "« STOP »", '"STOP"', "'STOP'", "(stop)", "*STOP*", "_stop_"),
    *("Stop. Merci", "Stop.Merci", "STOP 36123", "STOP36123", "36180 STOP", "STOP_36180", "Stop,"),
    *("STOP; plus de pub", "stop\nmerci", "Stop !!!!", "👉 STOP", "Re: STOP", "RE : Stop"),
    *("Stopp", "STOOOP", "Stoppez", "stopper", "stoppe", "STOPALL", "stop sms", "STOP-PUB"),
    *("S T O P", "ST OP", "Sto p", "S.T.O.P", "s-t-o-p", "arr etez", "sotp", "stpo"),
    *("Bonjour, stop merci", "Non merci stop", "svp stop", "please stop", "stop texting me"),
    *("merci de stopper", "STOP SMS svp", "Non stop", "Non, stop", "J'ai dit stop"),
    *("Arrêt", "ARRET", "Arrêtez", "arrète", "arrêter svp", "Veuillez arrêter", "arrêtez merci"),
    *("arretez de m'envoyer des sms", "Arrêt de vos sms"),
    *("Désabo", "de\u0301sabonner", "DESABONNER", "Désabonnez-moi", "Je me désabonne"),
    *("desabonnement", "dezabonner", "je veux me desabonner de vos sms"),
    *("Désinscription", "Désinscrire", "desinscrivez-moi", "Je souhaite me désinscrire"),
    *("unsubscribe", "UNSUB", "opt out", "optout", "Opt-Out", "remove me", "take me off your list"),
    *("No more texts", "don't text me", "Do not contact me", "leave me alone"),
    *("ne plus recevoir", "je ne veux plus recevoir vos sms", "Plus rien recevoir merci"),
    *("plus de pub", "plus de sms svp", "plus d'offres", "plus aucun sms", "plus de vos messages"),
    *("Ne m'envoyez plus rien", "ne me contactez plus", "n'envoyez plus de messages"),
    *("ne plus m'écrire", "Ne plus me contacter", "Je ne souhaite plus être contacté"),
    *("retirez-moi de votre liste", "supprimez mon numéro", "laissez-moi tranquille"),
    "STOP je ne veux plus recevoir vos messages publicitaires merci de me retirer de la liste",
    *("désincription", "me désincrire svp", "dsabonner", "déabonnez moi", "5top", "5TOP sms"),
    *("je ne veux plus rien de vous", "Je n'en veux plus", "je ne souhaite plus rien recevoir"),
    *(
        "ôtez-moi de la liste",
        "Sortez moi de vos fichiers",
        "radiez-moi",
        "Lâchez-moi",
        "lachez nous",
    ),
    *("pouvez vous me retirer de votre liste", "merci de me supprimer", "Retirez mon n° svp"),
    *("suprimez mes coordonnées", "effacez ce numéro", "supprimer mon tel", "Enlevez mon nom"),
    *("Cessez d'envoyer", "Cesser vos envois", "mettez fin à vos messages", "Je m'oppose à cela"),
    *("je refuse vos sms", "je refuse de recevoir ça", "merci de plus m'envoyer de pub"),
    *("j'veux pu de message", "jveu plu recevoir", "plu de sms", "pu de pub", "plu rien recevoir"),
    *("je veut plus resevoir de message", "veux plus ressevoir", "que je ne reçoive plus rien"),
    *("ne plus être harcelé", "ne me relancez plus", "ne me démarchez plus"),
    *("je ne veux pas recevoir de pub", "Je ne souhaite pas recevoir vos sms", "veux pas de pub"),
    *("ne m'envoyez pas de messages", "m'envoie plus rien", "n'envoie plus", "Ne m'écris plus"),
    *("plus d'envois svp", "Me rappelez plus", "arrter", "harretez", "laissez nous en paix"),
    *("do not call", "don't phone me", "OPT ME OUT", "cancel my subscription", "stop calling"),
    # as messages are typed
    *(
        "jveu pu recevoir de pub",
        "j veu plus recevoir vo sms",
        "je ve plus de sms",
        "je veu pu d'sms",
    ),
    *("+ de sms svp", "plus 2 sms", "plus d pub", "jveux pu vos sms, stop"),
    # of messages, and no bus
    *("Je veux l'arrêt des messages", "je demande l arret de vos sms", "l'arrêt d'envoi svp"),
    *("je voudrais être retiré de la liste", "merci d'être radié", "je souhaite être enlevée"),
    # without a space, as fingers write
    *("STOPPUB", "stoppub svp", "STOPSPAM", "stopmessages", "STOPMARKETING", "stopenvoi"),
    *("STOPCONTACT", "STOPPUBLICITE", "stoplapub", "mercistop", "svpstop", "SMSSTOP", "pubstop"),
    *("stopplease", "stoptout", "STOPSTOPSTOP", "ARRETSMS", "arretpub", "arretezsvp", "Arrêtz"),
    *("jemedesabonne", "plusdepub", "plusdesms", "stopvosmessages"),
    # and with one too many
    *("dé-sinscription", "dés-abonnement", "dé sabonner", "STOP-MARKETING"),
]
# The same word in other letters: of Cyrillic and Greek, of mathematics, in circles, as flags.
DISGUISED = [
    *("Ѕтор", "ΣΤΟΡ", "STΟP", "ST0P", "$TOP", "STØP", "ＳＴＯＰ", "𝗦𝗧𝗢𝗣", "ⓢⓣⓞⓟ", "🇸🇹🇴🇵"),
    *("ꜱᴛᴏᴘ", "СТОП", "стоп смс", "ΣΤΟΠ", "στοπ"),
    *("🅢🅣🅞🅟", "🆂🆃🅾🅿", "ŠŦØƤ", "S T 0 P", "S.T.0.P", "5 T O P", "S7OP", "ST@P"),
    *("\u200bSTOP", "S\u200bT\u200bO\u200bP", "S\u00adTOP", "s̶t̶o̶p̶", "śťôṗ"),
]
OTHERS = [
    *("", "  ", "?!", "36123", "1", "+33639980001", "Oui", "ok merci", "Merci", "D'accord"),
    *("a", "i s", "Je veux des abonnements", "des abonnés"),
    *("Ouvert non-stop ?", "nonstop", "stopover", "autostop", "auto-stop", "stop ou encore"),
    *("stopwatch", "stoppage", "un doorstop", "auto-stoppeur", "57 0 personnes", "desktop"),
    *(
        "arrêt maladie",
        "je suis en arrêt maladie",
        "Je suis en arrêt",
        "arrêt de bus",
        "sans arrêt",
    ),
    *("Au prochain arrêt de bus", "un arret", "l'arrêt du tram", "spot", "un post", "stoppeuse"),
    *("C'est noté, à samedi", "Quelle adresse ?", "Je viens samedi", "plus tard"),
    *("je veux retirer mon colis", "Je viens retirer ma commande", "je passe enlever mon meuble"),
    *("C'est ma sœur", "Þór est là", "shop", "Top", "step", "stp", "ça m'a plu", "annuler mon rdv"),
    *("je n'ai pas pu recevoir le colis", "Vous pouvez me contacter plus tard", "rappelez moi"),
    *("vous me rappelez plus tard ?", "je ne veux pas rater vos offres", "je n'ai plus de crédit"),
    *("je veux plus que ça", "il est 8h + 2 min", "2+2", "c'est à moi", "Et les horaires ?"),
    *("Est-ce que le colis peut être retiré demain ?", "je veux être livré", "mon vélo est là"),
    *("le service est terminé à quelle heure ?", "C'est intéressant", "ça m'intéresse beaucoup"),
    *(
        "je change de magasin",
        "la bonne personne vous répond",
        "l'arrêt du métro",
        "arrêt d'urgence",
    ),
    *("Je ne peux plus venir", "Je reçois bien", "Vous ouvrez à quelle heure samedi ?"),
]
PERHAPS = [
    *(
        "non",
        "Non merci",
        "fin",
        "Fin.",
        "assez",
        "ça suffit",
        "jamais",
        "spam",
        "PUB",
        "cancel",
        "quit",
    ),
    *("No thanks", "no thank you", "non ça va", "pas intéressée", "plus interessé", "Je résilie"),
    *(
        "je refuse",
        "Je suis contre, opposition",
        "annuler mon abonnement",
        "Annulez mon inscription",
    ),
    *("Numéro à supprimer", "suppression de mes données", "je vous bloque", "harcèlement !"),
    *("RGPD", "je saisis la CNIL", "bloctel", "NPC", "vous êtes bloqué", "J'en veux plus"),
    # of other languages, and in letters that are not read here
    *("pas de pub svp", "Ne pas m'envoyer de sms", "plus rien", "plus jamais", "envoie plus"),
    *("Mauvais numéro", "vous vous trompez de numéro", "ce n'est pas mon numéro", "wrong number"),
    *("j'en ai marre", "ras le bol de vos sms", "ça suffit les sms", "dégagez", "oubliez moi"),
    *("fermez mon compte", "je veux quitter votre liste", "je me retire", "A retirer", "Rayer"),
    *("Radiation", "blacklist", "remove", "delete", "no messages", "I don't want these", "enough"),
    *("baja", "alto", "no quiero mensajes", "não quero", "pa vlé resevwa", "pa voyé mesaj ankò"),
    *("les mo trankil", "توقف", "أوقفوا الرسائل", "إلغاء", "отписаться", "停止", "חדל", "取消して"),
    # who is not the person
    *("J'ai changé de numéro", "Vous vous trompez de personne", "erreur de destinataire"),
    *("Je ne connais pas cette personne", "Mme Dupont est décédée", "mon mari est décédé"),
    *("mauvais destinataire", "pas la bonne personne", "j'ai changé de portable"),
    # in other words
    *("ça ne m'intéresse pas", "m'intéresse plus", "Ne pas déranger", "ne pas m'écrire"),
    *("inutile de m'écrire", "Plus la peine de m'écrire", "hors de question", "droit à l'oubli"),
    *("liste rouge", "à retirer de la liste", "exclure de vos listes", "radié du fichier"),
    *("effacement de mes données", "désactivez-moi", "désactivation", "arnaque", "foutez le camp"),
    *("bloquer", "Quittez", "terminé", "c'est fini", "coupez", "nn merci", "non non et non"),
    *(
        "plus rien svp",
        "jen veu plus",
        "jveux pas de vos pubs",
        "arretait",
        "Staup",
        "va te faire foutre",
    ),
    # one letter from the word
    *("stob", "stip", "stpp", "satop", "sto", "Étop", "stok merci"),
    *("stopcestbon", "Stoppezmoica", "topstop"),
    # for shops, and perhaps for us
    *("la promo s'arrête quand ?", "Ça s'arrête samedi ?", "vous avez arrêté le modèle bleu ?"),
    *("Je me suis arrêtée au magasin", "nous nous arrêtons", "je ne reçois plus vos sms"),
    *("Je n'arrive plus à vous contacter", "on peut plus vous contacter ?"),
    *(
        "plus d'infos svp",
        "Plus d'info ?",
        "je veux plus d'informations",
        "il n'y a plus de promo ?",
    ),
    "Y a-t-il plus de promos ?",
    *("🛑", "👎", "⛔️", "Ne pas stop", "ouvert non stop samedi"),
    "Bonjour je voudrais savoir si vous pouvez stopper ces messages car je suis en vacances",
    "Bonjour madame, je pars en Italie avec mes enfants et ne veux plus recevoir de sms",
]


@pytest.mark.parametrize("text", [*REQUESTS, *DISGUISED])
def test_a_reply_that_asks_to_stop_opts_out(text: str) -> None:
    assert asks_to_stop(text) is Asks.YES


@pytest.mark.parametrize("text", OTHERS)
def test_another_reply_does_not_opt_out(text: str) -> None:
    assert asks_to_stop(text) is Asks.NO


@pytest.mark.parametrize("text", PERHAPS)
def test_a_doubtful_reply_needs_an_operator(text: str) -> None:
    assert asks_to_stop(text) is Asks.PERHAPS


# As what a text was written, and as what somebody read it on its way to us.
MISREAD = [
    *[("utf-8", other) for other in ("cp1252", "cp1250", "latin-1", "mac-roman", "cp850")],
    *[("mac-roman", "cp1252"), ("cp850", "cp1252"), ("cp437", "latin-1"), ("latin-1", "mac-roman")],
    *[("latin-1", "utf-8"), ("cp1252", "ascii")],
]
ACCENTED = [text for text in REQUESTS if "é" in text or "ê" in text]


@pytest.mark.parametrize(("written", "read"), MISREAD)
@pytest.mark.parametrize("text", [*ACCENTED, "DÉSABONNEMENT", "Arrête", "ne plus m'écrire"])
def test_a_misdecoded_text_still_asks_to_stop(text, written, read) -> None:
    assert asks_to_stop(text.encode(written).decode(read, "replace")) is Asks.YES


@pytest.mark.parametrize(
    "text",
    [
        *("Arr?tez", "D?sabonnement", "ARR?T", "ne plus m'?crire", "D??sabonner", "arr¿tez"),
        *("arr&ecirc;tez", "D&#233;sabonner", "D&#xE9;sabo", "D%C3%A9sabonnement", "STOP%20merci"),
        *("Arr=C3=AAtez", "D=E9sabonnement", "D+AOk-sabonnement", "arr\\u00eatez", "Arr\\xeatez"),
    ],
)
def test_a_text_with_damaged_accents_still_asks_to_stop(text: str) -> None:
    assert asks_to_stop(text) is Asks.YES


@pytest.mark.parametrize(("written", "read"), MISREAD)
@pytest.mark.parametrize(
    "text", ["arrêt maladie", "C'est noté, à samedi", "Je reçois bien", "Vous ouvrez à 8 h ?"]
)
def test_a_misdecoded_ordinary_text_asks_nothing(text, written, read) -> None:
    assert asks_to_stop(text.encode(written).decode(read, "replace")) is Asks.NO


SPELT = st.sampled_from(
    [str.upper, str.title, str.casefold, lambda text: text.replace(" ", "  \u00a0")]
)
AROUND = st.text(' .!?,;:-–_*()"«»…\n\t👍🙏0123456789', max_size=6)


@given(text=st.sampled_from(REQUESTS), spelt=SPELT, before=AROUND, behind=AROUND)
def test_case_spaces_and_punctuation_hide_no_request(
    text: str, spelt: Callable[[str], str], before: str, behind: str
) -> None:
    assert asks_to_stop(f"{before} {spelt(text)} {behind}") is Asks.YES


@given(
    text=st.sampled_from([text for text in REQUESTS if len(text.split()) < 5]),
    before=st.sampled_from(["Bonjour,", "Merci", "Svp", "ok", "Non"]),
)
def test_polite_words_hide_no_request(text: str, before: str) -> None:
    assert asks_to_stop(f"{before} {text}") is not Asks.NO


@given(st.text(max_size=200))
def test_any_text_is_judged_alike_in_a_column(text: str) -> None:
    judged = asks_to_stop(text) is Asks.YES

    assert opts_out(pa.array([None, text, "Oui", text])).to_pylist() == [
        *(False, judged),
        *(False, judged),
    ]


@pytest.mark.parametrize("text", ["STOP", "Bonjour, stop", "Arrêtez", "je me désabonne", "S T O P"])
def test_a_cut_last_word_may_become_a_request(text: str) -> None:
    last = max(text.rfind(" "), 0 if text != "S T O P" else -1)
    for size in range(last + 2, len(text)):
        assert may_become_stop(text[:size]), text[:size]


@pytest.mark.parametrize(
    "text",
    [
        *("ne plus recevoir", "Je ne veux plus recevoir", "plus de pub", "laissez-moi tranquille"),
        *("enlevez moi", "no more texts", "don't text me", "take me off", "N'envoyez plus de pub"),
    ],
)
def test_a_cut_phrase_may_become_a_request(text: str) -> None:
    begins = 3 if text.startswith("Je ") else 0
    for size in range(begins + 1, len(text)):
        assert may_become_stop(text[:size]), text[:size]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "mac-roman", "cp850"])
@pytest.mark.parametrize("text", ["Désabonnement", "Arrêtez"])
def test_a_cut_text_in_another_encoding_may_become_one(text, encoding) -> None:
    raw = text.encode(encoding)
    for size in range(1, len(raw) + 1):
        assert may_become_stop(raw[:size].decode("cp1252", "replace")), raw[:size]


def test_a_complete_ordinary_text_never_becomes_a_request() -> None:
    for text in ("Oui", "Merci ", "Bonjour, ", "À samedi", "OK", "D'accord, samedi"):
        assert not may_become_stop(text)


def test_a_column_in_chunks_is_judged_as_one() -> None:
    texts = pa.chunked_array([["Oui", "STOP"], ["STOP", None], []], pa.large_string())

    assert opts_out(texts).to_pylist() == [False, True, True, False]


@pytest.mark.parametrize("unit", ["x", "é", "stop"])
def test_a_long_reply_takes_linear_time(unit: str) -> None:
    """With quadratic time this takes an hour."""
    assert asks_to_stop(unit * (250_000 // len(unit))) is not Asks.YES


def test_an_empty_column_has_boolean_answers() -> None:
    assert opts_out(pa.array([], pa.large_string())).type == pa.bool_()


def test_a_column_names_the_texts_for_an_operator() -> None:
    texts = pa.array(["STOP", "Non merci", None, "Oui"])

    assert may_opt_out(texts).to_pylist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("text", "speaks"),
    [
        ("Bonjour, je pars en Italie avec mes enfants: stop", True),
        ("Désabonnez-moi".encode().decode("cp1252"), True),
        ("Je viens samedi", False),
    ],
)
def test_a_request_anywhere_in_a_text_is_found(text: str, speaks: bool) -> None:
    assert speaks_of_stop(text) is speaks


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Bonjour madame je pars mais stop merci beaucoup", Asks.YES),  # eight words
        ("Bonjour madame j'ai dit stop merci à vous tous", Asks.YES),  # eight, and j and à
        ("Bonjour madame je pars mais stop merci beaucoup Paul", Asks.PERHAPS),
    ],
)
def test_eight_words_around_a_stop_are_few(text: str, asks: Asks) -> None:
    assert asks_to_stop(text) is asks


@pytest.mark.parametrize(
    "text",
    [
        "st opm erci",  # three pieces of STOPMERCI
        "Bonjour ar re te z",
        "\0".join("désabonner"),  # UTF-16 read in another encoding
        *("ST0PPER", "5TOPPER"),
        "plus, en arrêt, de pub",
        "plus, s'arrête, de pub",
        "stop" + "merci" * 10 + "moi" * 2,  # sixty letters
    ],
)
def test_a_request_in_pieces_is_one(text: str) -> None:
    assert asks_to_stop(text) is Asks.YES


@pytest.mark.parametrize(
    "text",
    [
        "  stop ou encore",
        "Bonjour sto pme rci",  # a piece has one or two letters
        "Œø",  # Latin letters without an ASCII form
        "ok да",  # half of the letters are Latin
    ],
)
def test_a_text_that_resembles_a_request_is_none(text: str) -> None:
    assert asks_to_stop(text) is Asks.NO


def test_more_than_sixty_letters_are_for_an_operator() -> None:
    assert asks_to_stop("stop" + "merci" * 9 + "moi" * 4) is Asks.PERHAPS


def test_the_pieces_of_an_unfinished_text_are_joined() -> None:
    assert may_become_stop("arr et")
    assert not may_become_stop("Merci, sto.")  # this word is finished
