DROP TRIGGER removal_is_final ON sms.removal;
CREATE TRIGGER removal_is_final BEFORE DELETE OR TRUNCATE ON sms.removal
    FOR EACH STATEMENT EXECUTE FUNCTION sms.refuse('what happened can only be added to');
-- Whoever is forgotten wrote those words. Compared as a whole, so that columns to come are final too.
CREATE TRIGGER removal_loses_only_its_words BEFORE UPDATE ON sms.removal
    FOR EACH ROW
    WHEN (NEW.message IS NOT NULL OR to_jsonb(NEW) - 'message' <> to_jsonb(OLD) - 'message')
    EXECUTE FUNCTION sms.refuse('what happened can only be added to');
