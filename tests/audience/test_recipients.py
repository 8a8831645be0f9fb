"""Screening: order of the checks, duplicates, opt-outs, and the reason of each exclusion."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sms.audience import screening as recipients
from sms.audience.residence import Geography
from sms.audience.screening import EXCLUDED_SCHEMA, MANY_ROWS, Reason, Screener
from sms.audience.source_faults import SourceFaults
from sms.campaign.definition import Campaign
from sms.columnar import parquet
from sms.errors import SourceError
from sms.telecom import gsm
from sms.telecom.msisdn import NumberFault, normalise

NOBODY = np.zeros(0, dtype=np.int64)
SAME_FILE = {"of_file": 0}
COLUMNS = ("key", "msisdn", "first_name", "opted_out")


NO_FRANCE = ("MA", "CH", "Maroc", "41")
ABROAD = [
    ("06 39 98 00 01", "FR"),
    ("06 39 98 00 02", "MA"),
    ("06 39 98 00 03", "Maroc"),
    ("06 39 98 00 04", None),
    ("06 39 98 00 05", " france "),
    ("06 39 98 00 06", "La Réunion"),
    ("06 39 98 00 07", "41"),
    ("06 39 98 00 08", "N/A"),
    ("+41 79 123 45 67", "CH"),
]


def number(n):
    """The n-th number of the block reserved for fiction, as the warehouse may write it."""
    return f"06 39 98 {n // 100:02} {n % 100:02}"


def msisdn(n):
    return 33639980000 + n


def candidates(*rows, columns=COLUMNS):
    return parquet.from_rows(columns, [(*row, *[None] * (len(columns) - len(row))) for row in rows])


def screener(**changes):
    return Screener(**({"columns": ["first_name"]} | changes))


def screened(*batches, stop_list=(), opted_out=None, limit=None, **changes):
    """The batches, taken apart; one screening for each."""
    stopped = np.array(stop_list, dtype=np.int64)
    asked = opted_out or (lambda numbers: numbers[np.isin(numbers, stopped)])
    survey = screener(**changes).survey(batches, asked, limit)
    return list(survey.split(batches))


def screen(batch, **changes):
    [screening] = screened(batch, **changes)
    return screening


def outcome(*screenings):
    """(keys written to, {key: reason}) of one or several batches."""
    written_to = [key for one in screenings for key in one.audience["key"].to_pylist()]
    reasons = [
        (row["key"], row["reason"]) for one in screenings for row in one.excluded.to_pylist()
    ]
    return written_to, dict(reasons)


def test_the_audience_has_key_number_country_and_text_columns():
    screening = screen(candidates((7, number(1), "Zoé")))

    own = {"row": 1, "key": "7", "msisdn": msisdn(1), "country": "FR", **SAME_FILE}
    assert screening.audience.to_pylist() == [{**own, "first_name": "Zoé"}]
    assert screening.audience.schema == screener().audience_schema()
    assert screening.excluded.num_rows == 0
    assert screening.excluded.schema == EXCLUDED_SCHEMA


def test_an_excluded_row_keeps_its_original_key_and_number():
    screening = screen(candidates((7, "01 23 45 67 89", "Zoé")))

    assert screening.excluded.to_pylist() == [
        {"row": 1, "key": "7", "msisdn": "01 23 45 67 89", "reason": "landline", "detail": ""}
    ]


# Each row has this fault and all that come later in the order, and is told this one.
ORDER = {
    "no key": ((None, "x", None, "true"), Reason.MISSING_KEY),
    "blank key": (("\u00a0 ", "x", None, "true"), Reason.MISSING_KEY),
    "a word for no key": (("NULL", "x", None, "true"), Reason.MISSING_KEY),
    "rounded key": (("1.23E+11", "x", None, "true"), Reason.FLOAT_KEY),
    "long key": (("k" * 256, "x", None, "true"), Reason.OVERSIZED_KEY),
    "no number": (("o", None, None, "true"), Reason.MISSING_MSISDN),
    "landline": (("o", "0123456789", None, "true"), Reason.LANDLINE),
    "abroad": (("o", "+44 7700 900123", None, "true"), Reason.COUNTRY_NOT_ENABLED),
    "warehouse's opt-out": (("o", number(1), None, "true"), Reason.OPTED_OUT_IN_WAREHOUSE),
    "stop list": (("k", number(1), None, None), Reason.OPTED_OUT),
    "null": (("k", number(2), None, None), Reason.MISSING_VALUE),
    "blank": (("k", number(2), " \u2003", None), Reason.EMPTY_VALUE),
    "oversized": (("k", number(2), "é" * 766, None), Reason.OVERSIZED_VALUE),
    "number and key taken": (("k", number(2), "Zoé", None), Reason.DUPLICATE_MSISDN),
    "key taken": (("k", number(3), "Zoé", None), Reason.DUPLICATE_KEY),
}


@pytest.mark.parametrize(("row", "reason"), ORDER.values(), ids=ORDER.keys())
@pytest.mark.parametrize("together", [True, False], ids=["one batch", "two batches"])
def test_a_row_has_the_first_of_its_reasons(row, reason, together):
    first = ("k", number(2), "Ana", None)
    batches = [candidates(first, row)] if together else [candidates(first), candidates(row)]
    excluded = screened(*batches, stop_list=[msisdn(1)])[-1].excluded

    assert excluded.select(["row", "reason"]).to_pylist() == [{"row": 2, "reason": reason}]


@pytest.mark.parametrize(
    "key", [r"\N", "nan", " NaN ", "#N/A", "#N/D", "(null)", "null", "undefined", "inf", "<NA>"]
)
def test_a_key_that_spells_null_is_missing(key):
    rows = candidates((key, number(1), "Ana"), ("b", number(2), "Ben"))

    assert screen(rows).excluded.select(["key", "reason"]).to_pylist() == [
        {"key": key, "reason": Reason.MISSING_KEY}
    ]


@pytest.mark.parametrize("key", ["1.23E+11", "1,23E+11", "1E+11", "-1.2e+100", " 6.1E+08"])
def test_a_key_rounded_by_a_spreadsheet_is_a_fault(key):
    rows = candidates((key, number(1), "Ana"), (key, number(2), "Ben"), ("b", number(3), "Zoé"))
    faults = SourceFaults()

    faults.add(screen(rows).excluded)

    assert [(each.code, each.count) for each in faults.found()] == [("float_key", 2)]


@pytest.mark.parametrize(
    "key", ["12E10", "1E5", "A1E+11", "1E+11B", "Null", "none", "na", "E+", "1"]
)
def test_a_key_resembling_a_float_or_null_is_kept(key):
    assert screen(candidates((key, number(1), "Ana"))).audience["key"].to_pylist() == [key]


def test_the_detail_names_the_country_or_the_column():
    rows = candidates(("a", "+44 7700 900123", "Ana"), ("b", number(1), None))

    assert screen(rows).excluded["detail"].to_pylist() == ["GB", "first_name"]


def test_recipients_are_in_allowed_countries_and_fr_excludes_overseas():
    rows = candidates(("a", "+44 7700 900123", "Ana"), ("b", "0692 01 23 45", "Ben"))

    assert outcome(screen(rows))[0] == []
    assert outcome(screen(rows, allowed_countries=["FR", "GB", "RE"]))[0] == ["a", "b"]


SWISS = ("079 123 45 67", "0470 12 34 56", "06 39 98 00 01", "+33639980002", "+41791234567")


def test_a_national_number_of_several_allowed_countries_is_excluded():
    rows = candidates(*((f"k{n}", text, "Ana") for n, text in enumerate(SWISS)))

    kept, left_out = outcome(screen(rows, allowed_countries=["FR", "CH", "BE"]))

    assert kept == ["k3", "k4"]
    assert left_out == dict.fromkeys(["k0", "k1", "k2"], "national_msisdn")


def test_a_campaign_may_say_that_national_numbers_are_french():
    rows = candidates(*((f"k{n}", text, "Ana") for n, text in enumerate(SWISS)))

    french = screen(rows, allowed_countries=["FR", "CH", "BE"], national_numbers="FR")

    assert french.audience["msisdn"].to_pylist()[1:] == [msisdn(1), msisdn(2), 41791234567]


@pytest.mark.parametrize(
    "name", ["country", "PAYS", "country_code", "Shipping Country", "codepays"]
)
def test_foreign_recipients_national_numbers_are_not_read_as_french(name):
    rows = [(f"k{at}", number, country) for at, (number, country) in enumerate(ABROAD)]

    found = screen(candidates(*rows, columns=("key", "msisdn", name)), columns=())

    assert found.audience["key"].to_pylist() == [
        f"k{at}" for at, (_, country) in enumerate(ABROAD) if country not in NO_FRANCE
    ]
    assert {*found.excluded["reason"].to_pylist()} == {"national_msisdn", "country_not_enabled"}


def test_the_national_numbers_setting_overrides_the_country_column():
    rows = candidates(("k", number(1), "MA"), columns=("key", "msisdn", "country"))

    assert screen(rows, columns=(), national_numbers="FR").audience.num_rows == 1


@pytest.mark.parametrize("name", ["country_id", "store_country", "county", "birth_country_rank"])
def test_a_column_of_another_name_is_no_country_column(name):
    rows = candidates(("k", number(1), "MA"), columns=("key", "msisdn", name))

    assert screen(rows, columns=()).audience.num_rows == 1


def test_allowed_countries_with_other_formats_leave_national_numbers_french():
    rows = candidates(("a", number(1), "Ana"), ("b", "0692 01 23 45", "Ben"))

    assert outcome(screen(rows, allowed_countries=["FR", "GB", "RE"]))[0] == ["a", "b"]


@pytest.mark.parametrize(
    ("said", "other"),
    [("079 123 45 67", "+41791234567"), ("06 39 98 00 01", "+33639980001")],
)
def test_an_ambiguous_opt_out_excludes_each_possible_number(said, other):
    rows = candidates(("a", said, "Ana", "true"), ("b", other, "Ana", None))

    kept, left_out = outcome(screen(rows, allowed_countries=["FR", "CH"]))

    assert (kept, left_out) == ([], {"a": "national_msisdn", "b": "opted_out_in_warehouse"})


def test_an_opt_out_under_33_excludes_the_overseas_number():
    rows = candidates(("a", "+33692012345", "Ana", "true"), ("b", "+262692012345", "Ana", None))

    kept, left_out = outcome(screen(rows, allowed_countries=["FR", "RE"]))

    assert (kept, left_out["b"]) == ([], "opted_out_in_warehouse")


def test_only_gaps_in_needed_columns_exclude_a_row():
    rows = candidates(
        ("a", number(1), ""),
        ("b", number(2), None),
        ("c", number(3), "é" * 765),
        ("k" * 255, number(4), "É"),
    )

    assert outcome(screen(rows)) == (["c", "k" * 255], {"a": "empty_value", "b": "missing_value"})
    assert outcome(screen(rows, needed=[])) == (["a", "b", "c", "k" * 255], {})


def test_a_null_with_hidden_bytes_is_missing():
    """As Arrow's own functions leave them."""
    rows = candidates(("a", number(1), "Ana"), ("b", number(2), "Ben"), ("c", number(3), "C"))
    for column, reason in (("key", "missing_key"), ("first_name", "missing_value")):
        place = rows.schema.get_field_index(column)
        _, *hidden = rows[column].buffers()
        masked = pa.Array.from_buffers(parquet.TEXT, 3, [pa.py_buffer(b"\x05"), *hidden])
        screening = screen(rows.set_column(place, column, masked))

        assert screening.audience["row"].to_pylist() == [1, 3]
        assert screening.excluded["reason"].to_pylist() == [reason]


SPACES = "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000"


# What no phone shows: of no width, fillers, the blank of Braille, a NUL, tags, direction marks.
UNSEEN = (
    "\0\x01\x7f\u00ad\u034f\u061c\u070f\u115f\u1160\u200b\u200d\u200f"
    "\u2060\u2066\u2800\u3164\ufeff\uffa0\U000e0020"
)


@pytest.mark.parametrize("space", SPACES + UNSEEN, ids=ascii)
def test_only_invisible_characters_count_as_blank(space):
    rows = candidates(
        ("a", number(1), space),
        ("b", number(2), space * 3),
        (space, number(3), "Ana"),
        ("c", number(4), f"{space}x"),
        ("d", number(5), f"x{space}"),
    )

    assert outcome(screen(rows)) == (
        ["c", "d"],
        {"a": "empty_value", "b": "empty_value", space: "missing_key"},
    )


EMOJI = ["🌸", "🌸🌸", " 🌸 ", "❤️", "👨\u200d👩\u200d👧", "🇫🇷", "\u0301", "©️"[1:], "🌸\u00a0"]


@pytest.mark.parametrize("sign", EMOJI, ids=ascii)
def test_a_value_without_gsm_characters_is_blank_unless_unicode(sign):
    rows = candidates(("a", number(1), sign), ("b", number(1), "Ana"))

    screening = screen(rows)

    assert outcome(screening) == (["b"], {"a": "empty_value"})
    assert screening.excluded["detail"].to_pylist() == ["first_name"]
    if sign != "\ufe0f":
        assert outcome(screen(rows, unicode=True))[0] == ["a"]


@pytest.mark.parametrize(
    "sign", ["🌸Ana", "🌸?", "李", "©", "½", "Élise", "É", "ç", "Ω", "…", "🔟", "-"]
)
def test_a_value_with_any_gsm_character_is_not_blank(sign):
    assert outcome(screen(candidates(("a", number(1), sign))))[0] == ["a"]


@given(
    st.lists(
        st.text(st.sampled_from("🌸❤\ufe0f\u200d \u00a0aéç李½\u0301?"), max_size=4), max_size=9
    )
)
def test_a_value_is_blank_if_cleaning_empties_it(values):
    column = pa.array(values, pa.large_string())

    cleaned = gsm.clean(column).texts.to_pylist()
    assert recipients.nothing_on_a_phone(column).tolist() == [not text.strip() for text in cleaned]


def test_the_first_of_two_spellings_of_a_number_wins():
    rows = candidates(("b", number(1), "Ben"), ("a", "+33 (0)6.39.98.00.01", "Ana"))

    assert outcome(screen(rows)) == (["b"], {"a": "duplicate_msisdn"})


@pytest.mark.parametrize("size", [1, 7, 100])
def test_only_numbers_in_very_many_rows_are_fillers(size):
    shared = [(f"f{n}", "0600000000", "Ana") for n in range(MANY_ROWS)]
    some = [(f"s{n}", number(7), "Ana") for n in range(MANY_ROWS - 1)]
    rows = [
        row for pair in zip(shared, [*some, ("o", number(8), "Ben")], strict=True) for row in pair
    ]
    batches = [candidates(*rows[start : start + size]) for start in range(0, len(rows), size)]

    kept, left_out = outcome(*screened(*batches))

    assert kept == ["f0", "s0", "o"]
    assert {key: reason for key, reason in left_out.items() if key[0] == "f"} == {
        f"f{n}": "filler_msisdn" for n in range(1, MANY_ROWS)
    }
    assert set(left_out.values()) == {"filler_msisdn", "duplicate_msisdn"}


def test_filler_rows_that_share_a_key_count_as_filler():
    rows = [("k", "0600000000", "Ana")] * MANY_ROWS

    assert outcome(screen(candidates(*rows))) == (["k"], {"k": "filler_msisdn"})


@given(st.lists(st.integers(1, 6), max_size=60), st.integers(2, 5))
def test_frequent_values_are_found_in_a_sorted_list(values, times):
    found = recipients._repeated(np.sort(np.array(values, np.int64)), times)

    assert found.tolist() == sorted({value for value in values if values.count(value) >= times})


def test_an_excluded_row_claims_no_number_and_no_key():
    rows = candidates(
        ("a", number(1), None),  # no first name: number 1 stays free
        ("b", number(1), "Ben"),
        ("b", number(2), "Ben again"),  # a duplicate key: number 2 stays free
        ("c", number(2), "Cléo"),
        ("a", number(3), "Ana"),
    )
    wanted = ["b", "c", "a"]

    assert outcome(screen(rows))[0] == wanted
    parts = screened(*[rows.slice(row, 1) for row in range(rows.num_rows)])
    assert outcome(*parts)[0] == wanted


@pytest.mark.parametrize(
    "word", ["true", "t", "1", "yes", "Oui", " o ", "VRAI", "x", "2024-05-01", "whatever"]
)
def test_every_truthy_opt_out_value_counts(word):
    _, reasons = outcome(screen(candidates(("a", number(1), "Ana", word))))

    assert reasons == {"a": "opted_out_in_warehouse"}


@pytest.mark.parametrize("word", [None, "", "false", "F", "0", "0.0", "no", "Non", " faux ", "nan"])
def test_only_a_plain_false_is_no_opt_out(word):
    assert outcome(screen(candidates(("a", number(1), "Ana", word))))[0] == ["a"]


def test_an_opt_out_excludes_every_row_of_its_number():
    rows = candidates(
        ("a", number(1), "Ana", None), ("b", f"+{msisdn(1)}", "Ben", "true"), ("c", number(2), "C")
    )
    wanted = (["c"], {"a": "opted_out_in_warehouse", "b": "opted_out_in_warehouse"})
    batches = [rows.slice(row, 1) for row in range(3)]

    assert outcome(screen(rows)) == wanted
    assert outcome(*screened(*batches)) == wanted


def test_an_opt_out_excludes_every_row_of_its_key():
    rows = candidates(
        *[("a", number(1), "Ana", "no"), ("b", number(2), "Ben", None), ("c", None, "C", "yes")],
        *[("a", number(3), "Ana", "yes"), ("c", number(4), "C", "no"), (None, number(5), "D", "1")],
        *[("d", number(6), "D", "no"), ("", number(7), "D", "1"), ("A", number(8), "A", "no")],
    )
    left_out = dict.fromkeys(("a", "c"), "opted_out_in_warehouse")
    batches = [rows.slice(row, 1) for row in range(rows.num_rows)]

    for made in ([screen(rows)], screened(*batches)):
        audience, reasons = outcome(*made)
        assert audience == ["b", "d", "A"]
        assert {key: reasons[key] for key in left_out} == left_out


def test_opted_out_keys_with_similar_digests_are_distinct(monkeypatch):
    halves = {"a": (1, 1), "b": (1, 2)}
    monkeypatch.setattr(
        "sms.audience.screening.digest",
        lambda keys, **_: np.array([halves[key] for key in keys.to_pylist()], np.uint64),
    )
    rows = candidates(("a", number(1), "Ana", "yes"), ("b", number(2), "Ben", "no"))

    assert outcome(screen(rows))[0] == ["b"]


@pytest.mark.parametrize(
    "name",
    [
        *("Opted_Out", "OPTED_OUT", "opted_out ", "\ufeffopted_out", "opted out", "opted-out"),
        *("optedout", "OptedOut", "opt_out", "Opt-Out", "optout"),
    ],
)
def test_opt_out_columns_are_recognised_in_every_spelling(name):
    rows = candidates(("a", number(1), "Ana", "true"), columns=(*COLUMNS[:3], name))

    assert outcome(screen(rows))[1] == {"a": "opted_out_in_warehouse"}


def test_of_several_such_columns_each_counts():
    rows = candidates(
        ("a", number(1), "Ana", "true", "no"),
        ("b", number(2), "Ben", "no", "yes"),
        ("c", number(3), "C", "no", None),
        columns=(*COLUMNS, "OPTED_OUT"),
    )

    assert outcome(screen(rows))[0] == ["c"]


@pytest.mark.parametrize(
    "name",
    [
        *("opted_out_at", "opted_outs", "is_opted_out", "opt_outs", "opted_ou", "oted_out"),
        *("desabonne", "Désabonné", "desinscrit", "stop_sms", "unsubscribed", "blacklist"),
        *("opt_in", "optin_sms", "consent_sms", "consentement", "liste_noire", "ne_pas_contacter"),
        *("STOP", "date_stop", "Stop marketing", "nepasdeanger", "ne_plus_appeler", "do_not_sms"),
        *("DoNotCall", "donotphone", "DND", "NPC", "rgpd", "gdpr_ok", "refus", "refus_commercial"),
        *(
            "exclu",
            "A exclure",
            "excluded",
            "liste_repoussoir",
            "suppressed",
            "is_blocked",
            "bloqué",
        ),
        *("date_desabo", "abonné", "abonne_sms", "newsletter", "joignable", "Décédé", "opposant"),
        *("Accepts SMS Marketing", "AcceptsMarketing", "accepte_sms", "accord_sms", "allow_sms"),
        *(
            "autorisation_sms",
            "sms_ok",
            "ok_sms",
            "no_sms",
            "pas_de_sms",
            "sms_status",
            "statut sms",
        ),
        *("SMS_SUBSCRIPTION_STATUS", "subscription_status", "subscribed", "sms_marketing_state"),
        *("marketing_permission", "pref_sms", "toestemming", "uitgeschreven_op", "Abmeldung"),
        *("stop_pub", "STOP-mail", "stop_prospection", "stop_appel", "exclu_sms", "sms_excluded"),
        *("mute_sms", "interdit_sms", "interdiction", "sollicitable", "non_sollicite", "no_call"),
        *("sms_enabled", "smsDisabled", "sms_active", "sms actif", "sms_inactif", "sms_désactivé"),
        *("inscrit_sms", "sms_forbidden", "block_sms", "send_sms", "mkt_ok", "no_mkt", "ind_stop"),
        *("top_stop", "flg_stop", "cd_stop", "a_dit_stop", "stop_client", "contactabilité"),
        *("sollicitabilite", "peut_contacter", "can_be_contacted", "accord_commercial"),
        *("recevoir_sms", "wants_sms", "sms_flag", "sms_opt", "accepte_sollicitation"),
    ],
)
def test_a_possible_opt_out_column_is_refused_with_advice(name):
    rows = candidates(("a", number(1), "Ana", "true"), columns=(*COLUMNS[:3], name))

    with pytest.raises(SourceError, match=f"a column '{name}', did you mean opted_out"):
        screen(rows)


ANYTHING = ["optician", "outlet", "option", "out", "bus_stop", "stop_name", "stopover", "stoppage"]
ANYTHING += ["subscription_name", "subscription_end", "abonnement", "numero_abonne", "no_mobile"]
ANYTHING += ["exclusive_offer", "exclusivite", "sms_count", "accepted_at", "state", "etat_commande"]
ANYTHING += ["marketing_name", "preferred_store", "refund", "description", "inscription", "canal"]
ANYTHING += ["store", "points", "public", "block_number", "contact_name", "promo_sms"]
ANYTHING += ["interdit_bancaire", "derniere_sollicitation", "no_contact", "stop_count", "envoi_sms"]
ANYTHING += ["top_store", "code_store", "client_name", "active", "enabled", "inscrit_le", "stop_id"]
ANYTHING += ["business_unit", "sender", "inactive_days", "sent_sms", "last_sms_sent_at", "sms_text"]
ANYTHING += ["bus_stop_code", "activites", "smsc_name", "activity", "sms_sender"]


@pytest.mark.parametrize("name", ANYTHING)
def test_other_columns_are_no_opt_outs(name):
    rows = candidates(("a", number(1), "Ana", "true"), columns=(*COLUMNS[:3], name))

    assert outcome(screen(rows))[0] == ["a"]


DIALLING = ["indicatif", "Indicatif pays", "indicatif_tel", "dial_code", "dialling_code"]
DIALLING += ["country_calling_code", "phone_prefix", "phone_country_code", "mobile_country_code"]
DIALLING += ["vorwahl", "country_dial_code", "tel_prefixe"]


@pytest.mark.parametrize("name", DIALLING)
def test_a_dialling_code_column_is_refused_with_a_suggestion(name):
    rows = candidates(("a", number(1), "Ana", "33"), columns=(*COLUMNS[:3], name))

    with pytest.raises(
        SourceError, match=f"a column '{name}', .*may belong to another subscriber: join"
    ):
        screen(rows)
    assert outcome(screen(rows, columns=["first_name", name]))[0] == ["a"]  # the text's


@pytest.mark.parametrize("name", ["country_code", "prefix", "country", "pays", "dialogue", "phone"])
def test_a_country_column_is_no_dialling_code_column(name):
    rows = candidates(("a", number(1), "Ana", "FR"), columns=(*COLUMNS[:3], name))

    assert outcome(screen(rows))[0] == ["a"]


POSTCODES = ["postcode", "Postcode", "post_code", "POST-CODE", "code_postal", "CODEPOSTAL", "zip"]
POSTCODES += ["zip_code", "ZIP", "postal_code", "cp", "plz", "postcodes", "code_postale"]
POSTCODES += ["customer_postcode", "code_postal_client", "home_zip", "postcode_1", "dept"]
POSTCODES += ["departement", "Département", "code_departement", "code_insee", "code_commune"]
POSTCODES += ["shipping_zip", "cp_livraison", "departement_residence"]
ORDINARY = ["promo_code", "cost_code", "code", "store_postcode", "code_postal_magasin", "zipped"]
ORDINARY += ["store_departement", "department", "region", "dept_name"]
ORDINARY += ["post", "postal", "passcode", "country_code", "position", "pickup_code", "ville"]


@pytest.mark.parametrize("name", POSTCODES)
def test_an_undeclared_postcode_column_is_refused(name):
    rows = candidates(("a", number(1), "Ana", "97100"), columns=(*COLUMNS[:3], name))

    with pytest.raises(SourceError, match=f"'{name}', .*did you mean `postcode: {name}`"):
        screen(rows, lacks_postcode=True)
    assert outcome(screen(rows))[0] == ["a"]
    used = screen(rows, lacks_postcode=True, columns=["first_name", name])
    assert outcome(used)[0] == ["a"]  # it is asked for, as the text's


@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_column_is_no_postcode_column(name):
    rows = candidates(("a", "+33639980001", "Ana", "97100"), columns=(*COLUMNS[:3], name))

    assert outcome(screen(rows, lacks_postcode=True))[0] == ["a"]


@pytest.mark.parametrize(
    ("settings", "lacks"),
    [
        *[({}, True), ({"postcode": "home"}, False), ({"overseas": "mainland"}, True)],
        ({"overseas": "mainland", "alsace_moselle": "ignore"}, False),
        ({"kind": "transactional"}, False),
        ({"kind": "transactional", "overseas": "exclude"}, True),
    ],
)
def test_a_missing_postcode_setting_is_detected_where_needed(settings, lacks):
    own = {"sender": "SHOP", "kind": "marketing", "stop_mention": "STOP 36180", **settings}
    campaign = Campaign(**own, name="t", folder="/nowhere", sql="SELECT 1", text="Bonjour")

    assert Geography.of(campaign).lacks_postcode == lacks


@pytest.mark.parametrize("name", ["KEY", "Key", "customer_key", "key_"])
def test_a_misspelt_key_column_is_refused_with_a_suggestion(name):
    rows = candidates((number(1), "Ana", "a"), columns=("msisdn", "first_name", name))

    with pytest.raises(SourceError, match=f"'key' as its key, .*, did you mean {name}\\? Add the"):
        screen(rows)


@pytest.mark.parametrize("name", ["first_nam", "firstnames", "fristname"])
def test_a_misspelt_column_is_refused_with_a_suggestion(name):
    rows = candidates(("a", number(1), "Ana"), columns=("key", "msisdn", name))

    with pytest.raises(SourceError, match=f"did you mean {name}\\? Add the"):
        screen(rows)


def test_every_column_fault_is_found_with_what_requires_it():
    found = screener(lacks_postcode=True).column_faults(["KEY", "phone", "desabonne", "zip"])

    assert [(fault.column, fault.asked_by) for fault in found] == [
        *[("key", "key"), ("msisdn", "msisdn"), ("first_name", "text")],
        *[("desabonne", None), ("zip", None)],
    ]


def test_no_opt_out_column_is_needed():
    rows = candidates(("a", number(1), "Ana"), columns=COLUMNS[:3])

    assert outcome(screen(rows))[0] == ["a"]


def test_a_row_limit_still_reads_all_opt_outs():
    rows = candidates(
        ("a", number(1), "Ana"),
        ("b", number(2), "Ben"),
        ("c", number(3), "C"),
        ("d", number(1), "D", "true"),
    )
    survey = screener().survey([rows], lambda numbers: numbers[:0], limit=2)
    [screening] = survey.split([rows])

    assert outcome(screening) == (["b"], {"a": "opted_out_in_warehouse"})
    assert (survey.candidates, survey.audience, survey.reasons.total()) == (2, 1, 1)


def test_a_row_limit_in_any_batch_ends_the_reading():
    rows = candidates(*[(f"k{n}", number(n), "Ana") for n in range(9)])
    batches = [rows.slice(start, 2) for start in range(0, 9, 2)]
    for limit in range(1, 10):
        survey = screener().survey(batches, lambda numbers: numbers[:0], limit)
        read = iter(batches)
        screenings = list(survey.split(read))

        assert outcome(*screenings)[0] == [f"k{n}" for n in range(limit)]
        assert survey.candidates == limit
        assert len(list(read)) >= len(batches) - -(-limit // 2) - 1  # one is drawn to see


def test_a_slice_knows_how_many_rows_precede_it():
    rows = candidates(*[(f"k{n}", number(n) if n % 3 else "x", "Ana") for n in range(9)])
    batches = [rows.slice(start, 2) for start in range(0, 9, 2)]
    survey = screener().survey(batches, lambda numbers: numbers[:0], limit=7)

    stretches = [(each.first, each.rows.num_rows) for each in survey.stretches(batches)]
    assert stretches == [(0, 2), (2, 2), (4, 2), (6, 1)]


def test_a_limit_beyond_the_last_row_has_no_effect():
    rows = candidates(("a", number(1), "Ana"), ("b", number(2), "Ben"))

    assert outcome(*screened(rows, limit=5))[0] == ["a", "b"]


def test_an_excluded_row_leaves_its_key_to_later_rows():
    rows = candidates(
        ("a", number(1), None),
        ("a", number(2), "Ana"),
        ("a", number(3), "Ana again"),
        ("a", "0123456789", "Ana at home"),
    )

    assert screen(rows).audience["msisdn"].to_pylist() == [msisdn(2)]
    assert screen(rows).excluded["reason"].to_pylist() == [
        "missing_value",
        "duplicate_key",
        "landline",
    ]


def test_keys_that_share_half_their_digest_are_distinct(monkeypatch):
    """Two of 2**64 do, some day."""
    halves = {"a": (1, 1), "b": (1, 2), "c": (2, 1)}
    monkeypatch.setattr(
        "sms.audience.screening.digest",
        lambda keys: np.array([halves[key] for key in keys.to_pylist()], np.uint64),
    )
    rows = candidates(*[(key, number(place), "Ana") for place, key in enumerate("abcab")])

    assert screen(rows).audience["key"].to_pylist() == ["a", "b", "c"]
    assert screen(rows).excluded["reason"].to_pylist() == ["duplicate_key"] * 2


def test_numbers_that_share_their_last_bits_are_distinct():
    near, step = 33639980000, recipients._TABLE
    values = np.array([near, near + step, near + 1, near - step, near], np.int64)

    assert recipients._among(values, np.array([near])).tolist() == [True, False, False, False, True]
    assert recipients._among(values, np.array([], np.int64)).tolist() == [False] * 5
    both = np.array([near + step, near + 1])
    assert recipients._among(values, both).tolist() == [False, True, True, False, False]


def test_fewer_rows_at_the_second_reading_are_refused():
    rows = candidates(("a", number(1), "Ana"), ("b", number(2), "Ben"))
    survey = screener().survey([rows], lambda numbers: numbers[:0])

    with pytest.raises(SourceError, match="gave 2 rows, and 1 when they were read again"):
        list(survey.split([rows.slice(0, 1)]))


@pytest.mark.parametrize("more", [[2], [1, 1], [0, 2]])
def test_more_rows_at_the_second_reading_are_refused(more):
    rows = candidates(*[(f"k{n}", number(n), "Ana") for n in range(9)])
    survey = screener().survey([rows.slice(0, 7)], lambda numbers: numbers[:0])
    again = [rows.slice(0, 7), *(rows.slice(7, size) for size in more)]

    with pytest.raises(SourceError, match="gave 7 rows, and more than 7 when they were read again"):
        list(survey.split(again))
    with pytest.raises(SourceError, match="gave 7 rows, and more than 7 when they were read again"):
        list(survey.split([rows]))


def test_a_null_word_leaves_its_number_to_later_rows():
    rows = candidates(("a", number(1), "NaN"), ("b", number(1), "Ana"), ("c", number(2), "Nan"))

    assert outcome(screen(rows)) == (["b", "c"], {"a": "missing_value"})


def test_undecodable_bytes_are_reported_by_row_across_batches():
    rows = candidates(*[(f"k{n}", number(n), "Ana") for n in range(5)])
    names = pa.array([b"Ana", b"\xff"], pa.binary()).view(pa.string()).cast(pa.large_string())
    bad = rows.slice(0, 2).set_column(2, "first_name", names)

    with pytest.raises(SourceError, match=r"column first_name .* row 7:"):
        screened(rows, bad)


def test_one_stop_list_query_has_sorted_distinct_eligible_numbers():
    asked = []

    def opted_out(numbers):
        asked.append(numbers.tolist())
        return numbers[:1]

    rows = candidates(
        ("a", number(9), "Ana"),
        ("b", number(3), "Ben"),
        ("c", number(9), "C"),
        ("d", "0123456789", "D"),
        (None, number(5), "E"),
    )
    screening = screen(rows, opted_out=opted_out)

    assert asked == [[msisdn(3), msisdn(9)]]
    assert outcome(screening)[1]["b"] == "opted_out"


def test_a_stop_list_answer_may_be_unsorted_with_extras():
    def opted_out(numbers):
        return np.array([msisdn(8), msisdn(1), 0, msisdn(1)], dtype=np.int64)

    rows = candidates(("a", number(1), "Ana"), ("b", number(2), "Ben"))

    assert outcome(screen(rows, opted_out=opted_out)) == (["b"], {"a": "opted_out"})


def test_a_failing_stop_list_stops_the_screening():
    def opted_out(numbers):
        raise ConnectionError

    with pytest.raises(ConnectionError):
        screen(candidates(("a", number(1), "Ana")), opted_out=opted_out)


MISSING = {
    "key": (("customer", "msisdn", "first_name"), r"campaign\.yaml names 'key' as its key"),
    "number": (("key", "phone", "first_name"), r"campaign\.yaml names 'msisdn' as its msisdn"),
    "value": (("key", "msisdn", "city"), r"spring/message\.txt uses \{\{ first_name \}\}"),
}


@pytest.mark.parametrize(("columns", "sentence"), MISSING.values(), ids=MISSING.keys())
def test_a_missing_column_error_names_file_and_available_columns(columns, sentence):
    files = {"query": "spring/recipients.sql", "text": "spring/message.txt"}
    with pytest.raises(SourceError, match=sentence) as raised:
        screen(candidates((1, number(1), "x"), columns=columns), **files)

    assert f"the query of spring/recipients.sql returns only {', '.join(columns)}" in str(
        raised.value
    )


@pytest.mark.parametrize("column", ["row", "msisdn", "country"])
def test_a_text_may_not_use_reserved_column_names(column):
    with pytest.raises(SourceError, match=rf"message\.txt uses \{{\{{ {column} \}}\}}"):
        screener(columns=[column])


def test_a_text_may_use_the_campaigns_key_column():
    rows = candidates((7, number(1), "Zoé"), columns=("id", "mobile", "first_name"))
    plain = screen(candidates((7, number(1), "Zoé")), columns=["key"])
    renamed = screen(rows, columns=["id"], key="id", msisdn="mobile")

    assert plain.audience.schema.names == ["row", "key", "msisdn", "country", "of_file"]
    assert renamed.audience.to_pylist() == [
        {"row": 1, "key": "7", "msisdn": msisdn(1), "country": "FR", **SAME_FILE, "id": "7"}
    ]
    with pytest.raises(SourceError, match="a name that the audience keeps"):
        screener(columns=["key"], key="id")


HOMES = {"postcode": "home", "columns": []}
SPLIT = Geography.of(
    Campaign(
        **{"sender": "SHOP", "kind": "marketing", "stop_mention": "STOP 36180"},
        **{"name": "tests", "folder": "/nowhere", "sql": "SELECT 1", "text": "Bonjour"},
        postcode="home",
    )
)


def at_home(*homes):
    rows = [(f"k{n}", number(n), home) for n, home in enumerate(homes)]
    return candidates(*rows, columns=("key", "msisdn", "home"))


def test_recipients_go_to_their_zones_files_in_row_order():
    rows = at_home("75001", "57000", None, "97400", "57100", "97410", " ")
    batches = [rows.slice(start, 3) for start in (0, 3, 6)]
    survey = screener(**HOMES, geography=SPLIT).survey(batches, lambda numbers: numbers[:0])
    assert survey.people == {"FR": 3, "alsace_moselle": 2, "RE": 2}

    dealt = survey.dealt([("RE", 1), ("FR", 3), ("alsace_moselle", 2), ("RE", 1)])

    audience = [each.audience for each in dealt.split(batches)]
    files = [number for batch in audience for number in batch["of_file"].to_pylist()]
    assert files == [1, 2, 1, 0, 2, 3, 1]


@pytest.mark.parametrize("files", [[("FR", 1)], [("FR", 3)], [("RE", 2)], []])
def test_files_that_omit_recipients_are_refused(files):
    survey = screener(**HOMES, geography=SPLIT).survey(
        [at_home("75001", "75002")], lambda numbers: numbers[:0]
    )

    with pytest.raises(ValueError, match="2 people of FR"):
        survey.dealt(files)


def test_overseas_recipients_are_excluded_by_number_or_postcode():
    away = replace(SPLIT, excludes_overseas=True)
    rows = candidates(
        ("a", number(1), "97400"),
        ("b", "+262692012345", "75001"),
        ("c", "+262693012345", None),
        columns=("key", "msisdn", "home"),
    )

    abroad = screen(rows, **HOMES, geography=away, allowed_countries=("FR", "RE"))
    at_all = screen(rows, **HOMES, geography=away)

    assert abroad.excluded["reason"].to_pylist() == ["overseas", "overseas"]
    assert abroad.audience["key"].to_pylist() == ["b"]
    assert at_all.excluded["reason"].to_pylist() == [
        *["overseas", "country_not_enabled", "country_not_enabled"]
    ]


def test_an_unreadable_postcode_excludes_and_names_its_column():
    homes = (
        "B-1000",
        "97",
        "99999",
        "Basse-Terre",
        "0",
        "75001",
        None,
        "",
        " \u00a0",
        "NULL",
        "n/a",
    )

    screening = screen(at_home(*homes), **HOMES, geography=SPLIT)

    left_out = [
        (row["row"], row["reason"], row["detail"]) for row in screening.excluded.to_pylist()
    ]
    assert left_out == [(row, "unreadable_postcode", "home") for row in range(1, 6)]
    assert screening.audience.num_rows == 6


def test_postcodes_of_faulty_or_foreign_numbers_are_ignored():
    rows = candidates(
        ("a", "+33123456789", "?"), ("b", "+447700900123", "?"), columns=("key", "msisdn", "home")
    )

    screening = screen(rows, **HOMES, geography=SPLIT, allowed_countries=("FR", "GB"))

    assert outcome(screening) == (["b"], {"a": "landline"})


def test_an_unreadable_postcode_excludes_an_overseas_number():
    rows = candidates(("a", "+590690001234", "?"), columns=("key", "msisdn", "home"))

    screening = screen(rows, **HOMES, geography=SPLIT, allowed_countries=("FR", "GP"))

    assert outcome(screening) == ([], {"a": "unreadable_postcode"})


def test_an_empty_batch_has_no_audience_and_no_exclusions():
    screening = screen(candidates())

    assert (screening.audience.num_rows, screening.excluded.num_rows) == (0, 0)
    assert screening.reasons == {}


def test_integer_numbers_are_read_and_floats_are_excluded():
    table = pa.table({"key": [1, 2], "msisdn": [639980001, 33639980002], "first_name": ["A", "B"]})
    damaged = table.set_column(1, "msisdn", table["msisdn"].cast(pa.float64()))

    assert outcome(screen(table.to_batches()[0]))[0] == ["1", "2"]
    assert outcome(screen(damaged.to_batches()[0]))[1] == {
        "1": "float_msisdn",
        "2": "float_msisdn",
    }


def test_every_number_fault_is_a_reason_with_a_sentence():
    assert {fault.value: fault.sentence for fault in NumberFault}.items() <= {
        reason.value: reason.sentence for reason in Reason
    }.items()
    assert all(reason.sentence[0].islower() and reason.value.islower() for reason in Reason)


# --- The rule book, row by row, against the columns ----------------------------------------------

SPELLINGS = ["06 39 98 00 {:02}", "+3363998 00{:02}", "0033639980 0{:02}", "63998\u00a000{:02}"]
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "01", "1", "é", " ", None]),
        st.builds(str.format, st.sampled_from(SPELLINGS), st.integers(0, 8))
        | st.sampled_from([None, "0123456789", "+447700900123", "x"]),
        st.sampled_from(["Ana", "", None]),
        st.sampled_from([None, None, None, "false", "true"]),
    ),
    max_size=30,
)
STOPPED = [msisdn(7), msisdn(8)]


def judged_row_by_row(rows):
    """What the module's docstring says, literally: a reason, or "" for a row written to."""
    faults = normalise(pa.array([row[1] for row in rows], pa.string()))
    numbers, words = faults.msisdn.tolist(), faults.reason.to_pylist()
    countries = faults.country.to_pylist()
    opted_out = {n for n, row in zip(numbers, rows, strict=True) if n and row[3] == "true"}
    keys_opted_out = {row[0] for row in rows if (row[0] or "").strip() and row[3] == "true"}
    seen_numbers, seen_keys, verdicts = set(), set(), []
    for row, n, fault, country in zip(rows, numbers, words, countries, strict=True):
        key, _, name, _ = row
        if not (key or "").strip():
            verdict = "missing_key"
        elif fault:
            verdict = fault
        elif country != "FR":
            verdict = "country_not_enabled"
        elif n in opted_out or key in keys_opted_out:
            verdict = "opted_out_in_warehouse"
        elif n in STOPPED:
            verdict = "opted_out"
        elif name is None:
            verdict = "missing_value"
        elif not name:
            verdict = "empty_value"
        elif n in seen_numbers:
            verdict = "duplicate_msisdn"
        elif key in seen_keys:
            verdict = "duplicate_key"
        else:
            verdict = ""
            seen_numbers.add(n)
            seen_keys.add(key)
        verdicts.append(verdict)
    late = ("", "opted_out", "missing_value", "empty_value", "duplicate_msisdn", "duplicate_key")
    rows_of = Counter(n for n, verdict in zip(numbers, verdicts, strict=True) if verdict in late)
    return [
        "filler_msisdn" if verdict == "duplicate_msisdn" and rows_of[n] >= MANY_ROWS else verdict
        for n, verdict in zip(numbers, verdicts, strict=True)
    ]


def screened_in_batches(rows, size):
    batch = candidates(*rows)
    batches = [batch.slice(start, size) for start in range(0, batch.num_rows, size)]
    return screened(*batches, stop_list=STOPPED)


@given(ROWS, st.integers(1, 12))
@settings(max_examples=100)
def test_screening_in_batches_matches_the_rules_row_by_row(rows, size):
    verdicts = judged_row_by_row(rows)
    screenings = screened_in_batches(rows, size)

    kept = [row[0] for row, verdict in zip(rows, verdicts, strict=True) if not verdict]
    out = [
        (place, row[0], row[1], verdict)
        for place, (row, verdict) in enumerate(zip(rows, verdicts, strict=True), start=1)
        if verdict
    ]
    assert [key for one in screenings for key in one.audience["key"].to_pylist()] == kept
    assert [
        (row["row"], row["key"], row["msisdn"], row["reason"])
        for one in screenings
        for row in one.excluded.to_pylist()
    ] == out


@given(ROWS, st.integers(1, 12))
@settings(max_examples=40)
def test_every_row_is_either_in_the_audience_or_excluded(rows, size):
    screenings = screened_in_batches(rows, size)
    audience = sum(one.audience.num_rows for one in screenings)
    reasons = sum(sum(one.reasons.values()) for one in screenings)

    assert audience + reasons == len(rows)
    numbers = [n for one in screenings for n in one.audience["msisdn"].to_pylist()]
    assert len(numbers) == len(set(numbers))


@given(ROWS, st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_row_order_never_changes_which_numbers_are_written_to(rows, chance):
    rows = [(f"k{place}", *row[1:]) for place, row in enumerate(rows)]
    shuffled = chance.sample(rows, len(rows))

    def written_to(given):
        return {
            n for one in screened_in_batches(given, 7) for n in one.audience["msisdn"].to_pylist()
        }

    assert written_to(rows) == written_to(shuffled)


def test_keys_of_earlier_batches_are_recognised_exactly():
    keys = ["1", "01", "1 ", "é", "e\u0301", "long " * 50]
    first = candidates(*[(key, number(place), "Ana") for place, key in enumerate(keys)])
    again = candidates(*[(key, number(place + 50), "Ana") for place, key in enumerate(keys)])
    unlike = candidates(*[(f"{key}x", number(place + 90), "A") for place, key in enumerate(keys)])

    written_to, reasons = outcome(*screened(first, again, unlike))

    assert written_to == keys + [f"{key}x" for key in keys]
    assert reasons == dict.fromkeys(keys, "duplicate_key")


def test_screening_remembers_more_rows_than_its_initial_room(monkeypatch):
    rows = candidates(*((n, number(n // 2) if n % 5 else "", "Zoé") for n in range(30)))
    batches = [rows.slice(start, 7) for start in range(0, 30, 7)]
    whole = [row for one in screened(rows) for row in one.excluded.to_pylist()]
    monkeypatch.setattr(recipients, "ROOM", 2)
    screenings = screened(*batches)

    assert [row for one in screenings for row in one.excluded.to_pylist()] == whole
    assert {row["reason"] for row in whole} == {"missing_msisdn", "duplicate_msisdn"}
