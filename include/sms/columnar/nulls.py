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
    *("inf", "-inf", "+inf", "infinity", "-infinity", "1.#inf", "1.#qnan", "-1.#ind"),
    # a failed formula in a spreadsheet, in English and in French
    *("#ref!", "#value!", "#name?", "#div/0!", "#num!", "#spill!", "#getting_data", "########"),
    *("#valeur!", "#nom?", "#nombre!", "#nul!", "#propagation!"),
)
WORDS = ("nan", "NaN", "NAN", "None", "NONE", "NaT", "null", "NULL", "nil", "NA")
OF_NUMBERS = frozenset(word.casefold() for word in (*SIGNS, *WORDS))

_CASES = (str, str.lower, str.upper, str.capitalize, str.title)
_SPELLINGS = pa.array({*WORDS, *(case(sign) for sign in SIGNS for case in _CASES)}, TEXT)


def are_nulls(texts: pa.LargeStringArray) -> Flags:
    """Which texts spell a missing value; a null itself does not."""
    return flags_of(pc.fill_null(pc.is_in(pc.utf8_trim_whitespace(texts), _SPELLINGS), False))
