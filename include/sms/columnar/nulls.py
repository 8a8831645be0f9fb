"""Values that some program wrote where there was none: how each of them spells it.

One list for whatever reads values. In a column of numbers any of them is nothing; a name may be
Nil, Nan or Null, so of words only the spellings count in which programs write them.
"""

import pyarrow as pa
import pyarrow.compute as pc

from sms.columnar.text import TEXT, Flags, flags_of

# Nobody is called that, in whatever case.
SIGNS = (
    *("(null)", "[null]", "<null>", "{null}", "#null!", r"\n", "<na>", "<nan>", "(none)", "<none>"),
    *("n/a", "#n/a", "#na", "n.a.", "undefined", "[object Object]", "-nan"),
    *("inf", "-inf", "+inf", "infinity", "-infinity", "1.#inf", "1.#qnan", "-1.#ind"),
    # what a spreadsheet shows of a formula that fails, in English and in French
    *("#ref!", "#value!", "#name?", "#div/0!", "#num!", "#spill!", "#getting_data", "########"),
    *("#valeur!", "#nom?", "#nombre!", "#nul!", "#propagation!"),
)
WORDS = ("nan", "NaN", "NAN", "None", "NONE", "NaT", "null", "NULL", "nil", "NA")
OF_NUMBERS = frozenset(word.casefold() for word in (*SIGNS, *WORDS))

_CASES = (str, str.lower, str.upper, str.capitalize, str.title)
_SPELLINGS = pa.array({*WORDS, *(case(sign) for sign in SIGNS for case in _CASES)}, TEXT)


def are_nulls(texts: pa.LargeStringArray) -> Flags:
    """Which texts spell that there is no value; a null itself is none of them."""
    return flags_of(pc.fill_null(pc.is_in(pc.utf8_trim_whitespace(texts), _SPELLINGS), False))
