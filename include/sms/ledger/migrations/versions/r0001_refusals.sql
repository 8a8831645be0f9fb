CREATE FUNCTION sms.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: %', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'restrict_violation';
END $$;

CREATE TRIGGER opt_out_is_kept BEFORE DELETE OR TRUNCATE ON sms.opt_out
    FOR EACH STATEMENT EXECUTE FUNCTION sms.refuse('who said no is never forgotten');
CREATE TRIGGER opt_out_keeps_its_number BEFORE UPDATE OF msisdn ON sms.opt_out
    FOR EACH STATEMENT EXECUTE FUNCTION sms.refuse('who said no is never forgotten');
CREATE TRIGGER event_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON sms.event
    FOR EACH STATEMENT EXECUTE FUNCTION sms.refuse('what happened can only be added to');

-- A name that may have been seen at the gateway is that file's for ever, and an intent to rename
-- can't be taken back: both are what keeps a file from being sent twice.
CREATE TRIGGER submission_keeps_its_name BEFORE UPDATE ON sms.submission
    FOR EACH ROW
    WHEN (OLD.stem <> NEW.stem AND OLD.state NOT IN ('planned', 'prepared'))
    EXECUTE FUNCTION sms.refuse('a claimed file keeps its name');
CREATE TRIGGER submission_keeps_its_intent BEFORE UPDATE ON sms.submission
    FOR EACH ROW
    WHEN (OLD.rename_intended_at IS NOT NULL AND NEW.rename_intended_at IS NULL)
    EXECUTE FUNCTION sms.refuse('an intent to rename is never taken back');
CREATE TRIGGER submission_is_kept BEFORE DELETE ON sms.submission
    FOR EACH ROW
    WHEN (OLD.state NOT IN ('planned', 'prepared'))
    EXECUTE FUNCTION sms.refuse('a claimed file may be at the gateway');
CREATE TRIGGER submission_never_goes_back BEFORE UPDATE ON sms.submission
    FOR EACH ROW
    WHEN (OLD.state NOT IN ('planned', 'prepared') AND NEW.state IN ('planned', 'prepared'))
    EXECUTE FUNCTION sms.refuse('a claimed file may be at the gateway');
