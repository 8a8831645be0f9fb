-- The tables in the order in which a load locks them.

-- Whose receipt it is, its message says: the number need not stand here a second time.
ALTER TABLE sms.receipt DROP CONSTRAINT receipt_pkey, DROP COLUMN msisdn;

-- One row a message, in each month by itself: a key of the whole table would have to hold the day
-- in each of its entries, and to be looked at a second time when a report is through.
DO $$
DECLARE
    month text;
BEGIN
    FOR month IN
        SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid
        WHERE inhparent = 'sms.receipt'::regclass
    LOOP
        EXECUTE format('CREATE UNIQUE INDEX %I ON sms.%I (submission_id, idremote)',
            month || '_once', month);
    END LOOP;
END $$;

-- A stranger's outcome follows from its code, as everybody else's does.
ALTER TABLE sms.stranger DROP COLUMN outcome,
    ADD COLUMN outcome text GENERATED ALWAYS AS (sms.outcome_of(idstatus)) STORED;

-- What became of a variant is counted when its report is loaded, and stays: it need not be noted
-- once more when its people are erased.
CREATE TEMP TABLE noted ON COMMIT DROP AS
SELECT submission_id, what, sum(number)::bigint AS number FROM sms.erased
WHERE what NOT IN ('segments', 'stopped') GROUP BY submission_id, what;
DELETE FROM sms.erased;
ALTER TABLE sms.erased
    DROP CONSTRAINT erased_pkey, DROP COLUMN variant, ADD PRIMARY KEY (submission_id, what),
    DROP CONSTRAINT erased_what, ADD CONSTRAINT erased_what CHECK (what IN (
        'delivered', 'refused', 'not_delivered', 'pending', 'unknown', 'missing',
        'stranger', 'late_stop', 'STOP', 'SMSMO'));
INSERT INTO sms.erased SELECT submission_id, what, number FROM pg_temp.noted;

CREATE OR REPLACE FUNCTION sms.open_month(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    first date := date_trunc('month', day);
    following date := first + interval '1 month';
    parent text;
    month text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['message', 'receipt'] LOOP
        month := format('%s_%s', parent, to_char(first, 'YYYY_MM'));
        CONTINUE WHEN to_regclass('sms.' || month) IS NOT NULL;
        PERFORM pg_advisory_xact_lock(7777009);
        -- Not `to_regclass`: it remembers what was not there before we waited.
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_class WHERE relnamespace = 'sms'::regnamespace AND relname = month);
        EXECUTE format('CREATE TABLE sms.%I (LIKE sms.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', month, parent);
        IF parent = 'receipt' THEN
            EXECUTE format('CREATE UNIQUE INDEX %I ON sms.%I (submission_id, idremote)',
                month || '_once', month);
        END IF;
        EXECUTE format('ALTER TABLE sms.%I ATTACH PARTITION sms.%I FOR VALUES FROM (%L) TO (%L)',
            parent, month, first, following);
    END LOOP;
END $$;
