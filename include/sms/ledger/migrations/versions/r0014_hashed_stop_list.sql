-- With another key none of the pseudonyms would be found, and people who said no be written to.
CREATE TABLE sms.stop_list_key (
    fingerprint bytea NOT NULL,
    used_since  timestamptz NOT NULL
);
CREATE UNIQUE INDEX stop_list_key_is_one ON sms.stop_list_key ((true));
CREATE TRIGGER stop_list_key_is_final BEFORE UPDATE OR DELETE OR TRUNCATE ON sms.stop_list_key
    FOR EACH STATEMENT EXECUTE FUNCTION sms.refuse('the stop list''s hashes are of one key for ever');

-- A number may become a pseudonym, which is negative. Nothing else of whose a row is may change.
CREATE FUNCTION sms.is_same_person(was bigint, becomes bigint) RETURNS boolean
    LANGUAGE sql IMMUTABLE RETURN was = becomes OR (was > 0 AND becomes < 0);

DROP TRIGGER opt_out_keeps_its_number ON sms.opt_out;
CREATE TRIGGER opt_out_keeps_its_number BEFORE UPDATE OF msisdn ON sms.opt_out
    FOR EACH ROW
    WHEN (NOT sms.is_same_person(OLD.msisdn, NEW.msisdn))
    EXECUTE FUNCTION sms.refuse('who said no is never forgotten');

DROP TRIGGER imported_is_final ON sms.imported;
CREATE TRIGGER imported_is_final BEFORE DELETE OR TRUNCATE ON sms.imported
    FOR EACH STATEMENT EXECUTE FUNCTION sms.refuse('what happened can only be added to');
CREATE TRIGGER imported_loses_only_its_number BEFORE UPDATE ON sms.imported
    FOR EACH ROW
    WHEN (NOT sms.is_same_person(OLD.msisdn, NEW.msisdn)
        OR to_jsonb(NEW) - 'msisdn' <> to_jsonb(OLD) - 'msisdn')
    EXECUTE FUNCTION sms.refuse('what happened can only be added to');

-- Words are not lost but by those who erase them, so nothing else may be written in their place.
DROP TRIGGER removal_loses_only_its_words ON sms.removal;
CREATE TRIGGER removal_loses_only_its_words_and_number BEFORE UPDATE ON sms.removal
    FOR EACH ROW
    WHEN (NEW.message IS NOT NULL OR NOT sms.is_same_person(OLD.msisdn, NEW.msisdn)
        OR to_jsonb(NEW) - 'message' - 'msisdn' <> to_jsonb(OLD) - 'message' - 'msisdn')
    EXECUTE FUNCTION sms.refuse('what happened can only be added to');

COMMENT ON COLUMN sms.stop_list.msisdn IS
    'The number, international, without the +; negative: a keyed hash of one that is kept no longer';
