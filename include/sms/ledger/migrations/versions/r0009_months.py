"""The large tables by month, their messages' country, and counts that outlive them."""

import phonenumbers

from sms.ledger.migrations import scripts

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Where a calling code has several countries, its first digits tell; what they don't tell is the
# main one's. Messages from now on come with the country that screening found.
OF_RANGES = {"262639": "YT", "262709": "YT", "262": "RE"}

# What was granted on a table that is replaced is granted on the one that takes its place.
GRANT_AGAIN = """
DO $$ DECLARE one record; BEGIN
    FOR one IN
        SELECT replace(c.relname, '_whole', '') AS name, a.privilege_type AS what,
            CASE a.grantee WHEN 0 THEN 'PUBLIC'
                ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS whom
        FROM pg_class c, aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'sms'::regnamespace
            AND c.relname IN ('message_whole', 'receipt_whole') AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON sms.%I TO %s', one.what, one.name, one.whom);
    END LOOP;
END $$
"""


def upgrade() -> None:
    scripts.run("r0009_months.sql")
    scripts.execute(_country_of())
    scripts.run("r0009_carry_over.sql")
    scripts.execute("DROP FUNCTION sms.country_of")
    scripts.execute(GRANT_AGAIN)
    scripts.run("r0009_views.sql")
    scripts.execute("DROP TABLE sms.message_whole, sms.receipt_whole")


def downgrade() -> None:
    raise RuntimeError("the ledger only goes forward: restore a backup instead")


def _country_of() -> str:
    """A function for the messages that are there already."""
    main = {str(c): r[0] for c, r in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items()}
    ranges = sorted((main | OF_RANGES).items(), key=lambda each: (each[0] != "33", -len(each[0])))
    cases = " ".join(
        f"WHEN starts_with(msisdn::text, '{digits}') THEN '{country}'" for digits, country in ranges
    )
    return (
        "CREATE FUNCTION sms.country_of(msisdn bigint) RETURNS text LANGUAGE sql IMMUTABLE "
        f"RETURN CASE {cases} ELSE '' END"
    )
