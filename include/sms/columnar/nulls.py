"""How programs spell a missing value.

One list for all readers of values. In a column of numbers each of these is a null. A name may be
Nil, Nan or Null: so in text only the spellings that programs write count.
"""

import pyarrow as pa
import pyarrow.compute as pc

from sms.columnar.text import TEXT, Flags, flags_of

# Not names, in upper or lower case.
SIGNS = (
    *("(null)", "[null]", "<null>", "{null}", "#null!", r"\n", "<na>", "<nan>", "(none)", "<none>"),
    *("n/a", "#n/a", "#na", "n.a.", "undefined", "[object Object]", "-nan"),
    *("inf", "-inf", "+inf", "infinity", "-infinity", "1.#inf", "1.#qnan", "1.#ind", "-1.#ind"),
    *("(undefined)", "[undefined]", "<undefined>", "[Object object]", "pd.NA", "NoneType"),
    # a failed formula in a spreadsheet, in English and in French,
    *("#ref!", "#value!", "#name?", "#div/0!", "#num!", "#spill!", "#getting_data", "########"),
    *("#calc!", "#field!", "#blocked!", "#busy!", "#connect!", "#unknown!", "#python!", "#error!"),
    *("#external!", "#timeout!", "#valeur!", "#nom?", "#nom ?", "#nombre!", "#nul!", "#n/d"),
    *("#propagation!", "#champ!", "#bloque!", "#bloqué!", "#occupe!", "#occupé!", "#connexion!"),
    *("#calcul!", "#inconnu!", "#erreur!", "#chargement_donnees", "#chargement_données"),
    # in languages of neighbouring countries,
    *("#wert!", "#bezug!", "#zahl!", "#nv", "#null", "#überlauf!", "#waarde!", "#verw!", "#getal!"),
    *("#naam?", "#n/b", "#leeg!", "#deel/0!", "#valore!", "#rif!", "#nome?", "#n/d?", "#¡valor!"),
    *("#¡ref!", "#¡num!", "#¡nulo!", "#¿nombre?", "#¡div/0!"),
    # and in LibreOffice
    *(f"err:{number}" for number in range(501, 541)),
)
WORDS = ("nan", "NaN", "NAN", "None", "NONE", "NaT", "null", "NULL", "nil", "NA")
OF_NUMBERS = frozenset(word.casefold() for word in (*SIGNS, *WORDS))

_CASES = (str, str.lower, str.upper, str.capitalize, str.title)
SPELLINGS = frozenset({*WORDS, *(case(sign) for sign in SIGNS for case in _CASES)})
_SPELLINGS = pa.array(SPELLINGS, TEXT)


def are_nulls(texts: pa.LargeStringArray) -> Flags:
    """Which texts spell a missing value; a null itself does not."""
    return flags_of(pc.fill_null(pc.is_in(pc.utf8_trim_whitespace(texts), _SPELLINGS), False))
