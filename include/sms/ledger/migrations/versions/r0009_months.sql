-- The day in Paris: what analysts group by, and what the two large tables are cut by.
ALTER TABLE sms.submission
    ADD COLUMN sent_on date GENERATED ALWAYS AS ((send_at AT TIME ZONE 'Europe/Paris')::date) STORED,
    ADD COLUMN dropped_at timestamptz;
CREATE INDEX submission_sent_on ON sms.submission (sent_on);

-- A row of the large tables carries its file's day, and a claimed file may have rows.
CREATE TRIGGER submission_keeps_its_day BEFORE UPDATE ON sms.submission
    FOR EACH ROW
    WHEN ((OLD.send_at AT TIME ZONE 'Europe/Paris')::date <> (NEW.send_at AT TIME ZONE 'Europe/Paris')::date
        AND OLD.state NOT IN ('planned', 'prepared'))
    EXECUTE FUNCTION sms.refuse('a claimed file keeps its day');

ALTER TABLE sms.message RENAME TO message_whole;
ALTER INDEX sms.message_pkey RENAME TO message_whole_pkey;
ALTER INDEX sms.message_msisdn RENAME TO message_whole_msisdn;
ALTER TABLE sms.receipt RENAME TO receipt_whole;
ALTER TABLE sms.receipt_whole RENAME CONSTRAINT receipt_pkey TO receipt_whole_pkey;

CREATE TABLE sms.message (
    submission_id bigint NOT NULL,
    msisdn        bigint NOT NULL,
    sent_on       date NOT NULL,
    segments      smallint NOT NULL,
    country       text NOT NULL,
    idremote      text COLLATE "C" NOT NULL, -- bytes: a language's order costs time in an index
    key           text NOT NULL,
    variant       text,
    PRIMARY KEY (submission_id, idremote, sent_on)
) PARTITION BY RANGE (sent_on);
CREATE INDEX message_msisdn ON sms.message (msisdn);

CREATE TABLE sms.receipt (
    submission_id bigint NOT NULL,
    line          bigint NOT NULL,
    msisdn        bigint,
    sent_on       date NOT NULL,
    idstatus      smallint,
    idremote      text COLLATE "C" NOT NULL,
    outcome       text NOT NULL CONSTRAINT receipt_outcome CHECK (outcome IN (
                      'delivered', 'refused', 'not_delivered', 'pending', 'unknown')),
    ackoperator   text,
    raw_status    text,
    PRIMARY KEY (submission_id, idremote, sent_on) DEFERRABLE INITIALLY DEFERRED
) PARTITION BY RANGE (sent_on);

-- Their owner's rights, so that whoever fills the tables need not own them. Attached and not
-- created in place: that would wait for everybody who reads the tables.
CREATE FUNCTION sms.open_month(day date) RETURNS void
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
        EXECUTE format('ALTER TABLE sms.%I ATTACH PARTITION sms.%I FOR VALUES FROM (%L) TO (%L)',
            parent, month, first, following);
    END LOOP;
END $$;

-- A month is dropped only if none of its files may still be reported on. Whoever reads the
-- tables is waited for, but not for long: all others would wait behind us.
CREATE FUNCTION sms.drop_months(before date, now timestamptz) RETURNS SETOF date
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '10s' AS $$
DECLARE
    first date;
BEGIN
    PERFORM pg_advisory_xact_lock(7777009);
    FOR first IN
        SELECT to_date(right(inhrelid::regclass::text, 7), 'YYYY_MM') AS month FROM pg_inherits
        WHERE inhparent = 'sms.message'::regclass ORDER BY month
    LOOP
        EXIT WHEN first + interval '1 month' > before;
        CONTINUE WHEN EXISTS (
            SELECT FROM sms.submission s
            WHERE s.sent_on >= first AND s.sent_on < first + interval '1 month'
                AND s.state IN ('uploading', 'unknown', 'submitted', 'accepted'));
        UPDATE sms.submission s SET dropped_at = now
        WHERE s.sent_on >= first AND s.sent_on < first + interval '1 month'
            AND s.state NOT IN ('planned', 'prepared');
        EXECUTE format('DROP TABLE sms.message_%1$s, sms.receipt_%1$s', to_char(first, 'YYYY_MM'));
        RETURN NEXT first;
    END LOOP;
END $$;
REVOKE EXECUTE ON FUNCTION sms.drop_months FROM PUBLIC;

-- What became of a file's messages, counted when its report is loaded: what analysts read of a
-- year, and what stays when the messages themselves are gone.
CREATE TABLE sms.outcome_count (
    submission_id bigint NOT NULL REFERENCES sms.submission,
    country       text NOT NULL,
    variant       text,
    segments      smallint NOT NULL,
    outcome       text NOT NULL CONSTRAINT outcome_count_outcome CHECK (outcome IN (
                      'delivered', 'refused', 'not_delivered', 'pending', 'unknown', 'missing')),
    messages      integer NOT NULL CONSTRAINT outcome_count_messages CHECK (messages > 0),
    CONSTRAINT outcome_count_once UNIQUE NULLS NOT DISTINCT (submission_id, country, variant, segments, outcome)
);

-- Who answered them, counted when the answers are loaded. Null: not a number of this file.
CREATE TABLE sms.answer_count (
    submission_id bigint NOT NULL REFERENCES sms.submission,
    country       text,
    variant       text,
    segments      smallint,
    stop_rows     integer NOT NULL,
    reply_rows    integer NOT NULL,
    people        integer NOT NULL,
    CONSTRAINT answer_count_once UNIQUE NULLS NOT DISTINCT (submission_id, country, variant, segments)
);
ALTER TABLE sms.reply ADD COLUMN asks_to_stop boolean;
