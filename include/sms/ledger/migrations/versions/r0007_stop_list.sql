ALTER TABLE sms.opt_out ADD COLUMN list text;

-- What imports said: once for each number, list and moment. No key but the index, whose null
-- moments would all be different without the coalesce.
CREATE TABLE sms.imported (
    msisdn       bigint NOT NULL,
    list         text COLLATE "C" NOT NULL,
    opted_out_at timestamptz,
    recorded_at  timestamptz NOT NULL
);
CREATE UNIQUE INDEX imported_once
    ON sms.imported (msisdn, list, coalesce(opted_out_at, '-infinity'::timestamptz));

-- A row of the stop list that a person took away, as it was. `heard` are digests of all replies of
-- that number that were known by then: none of them brings it back, however often it is read.
CREATE TABLE sms.removal (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    msisdn       bigint NOT NULL,
    removed_at   timestamptz NOT NULL,
    actor        text NOT NULL,
    reason       text NOT NULL CONSTRAINT removal_reason CHECK (reason ~ '\S'),
    opted_out_at timestamptz NOT NULL,
    source       text NOT NULL,
    list         text,
    stem         text,
    message      text,
    recorded_at  timestamptz NOT NULL,
    heard        text[] NOT NULL
);
CREATE INDEX removal_msisdn ON sms.removal (msisdn);

CREATE TRIGGER imported_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON sms.imported
    FOR EACH STATEMENT EXECUTE FUNCTION sms.refuse('what happened can only be added to');
CREATE TRIGGER removal_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON sms.removal
    FOR EACH STATEMENT EXECUTE FUNCTION sms.refuse('what happened can only be added to');

CREATE FUNCTION sms.refuse_untraced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM sms.removal WHERE msisdn = OLD.msisdn AND recorded_at = OLD.recorded_at)
    THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'DELETE on sms.opt_out is refused: without a removal, who said no is never forgotten'
        USING ERRCODE = 'restrict_violation';
END $$;
DROP TRIGGER opt_out_is_kept ON sms.opt_out;
CREATE TRIGGER opt_out_is_kept BEFORE TRUNCATE ON sms.opt_out
    FOR EACH STATEMENT EXECUTE FUNCTION sms.refuse('who said no is never forgotten');
CREATE TRIGGER opt_out_leaves_by_removal BEFORE DELETE ON sms.opt_out
    FOR EACH ROW EXECUTE FUNCTION sms.refuse_untraced();

CREATE OR REPLACE VIEW sms.stop_list AS
SELECT
    o.msisdn,
    o.opted_out_at,
    o.source,
    r.campaign,
    o.stem,
    o.message,
    o.recorded_at,
    o.list
FROM sms.opt_out o
LEFT JOIN sms.submission s ON s.stem = o.stem
LEFT JOIN sms.campaign_run r ON r.run_key = s.run_key;

COMMENT ON COLUMN sms.stop_list.list IS 'The tool or list that an import came from';
