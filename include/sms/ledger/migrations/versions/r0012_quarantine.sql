ALTER TABLE sms.unreadable_row
    ADD COLUMN may_be_stop boolean,
    ADD COLUMN seen_at timestamptz,
    ADD COLUMN seen_by text,
    ADD COLUMN seen_reason text;

-- Of what was met before, nobody wrote down whether a person has looked: it waits for one. In a
-- reply rather a word too many than too few (R35): "arrêt" stands here as arr\303\252t.
UPDATE sms.unreadable_row SET may_be_stop = upper(report) LIKE 'STOP-%' OR (
    upper(report) LIKE 'SMSMO-%' AND encode(raw, 'escape')
        ~* 's[^a-z]{0,9}t[^a-z]{0,9}o[^a-z]{0,9}p|arr[^a-z]{0,9}e?[^a-z]{0,9}t|sabo|unsubscribe');

ALTER TABLE sms.unreadable_row ALTER COLUMN may_be_stop SET NOT NULL;

-- Asked before every send.
CREATE INDEX unreadable_row_unseen ON sms.unreadable_row (report)
WHERE may_be_stop AND gone_at IS NULL AND seen_at IS NULL;

CREATE OR REPLACE VIEW sms.quarantine AS
SELECT
    f.kind,
    u.report,
    r.campaign,
    s.stem,
    u.line,
    u.reason,
    -- Readable where it is ASCII, and never an error: what is no UTF-8 may stand here.
    encode(u.raw, 'escape') AS text,
    u.recorded_at,
    u.gone_at,
    f.archive,
    u.may_be_stop,
    u.seen_at,
    u.seen_by,
    u.seen_reason
FROM sms.unreadable_row u
LEFT JOIN sms.report_file f ON f.name = u.report
LEFT JOIN sms.submission s ON s.id = f.submission_id
LEFT JOIN sms.campaign_run r ON r.run_key = s.run_key;

COMMENT ON COLUMN sms.quarantine.may_be_stop IS
    'Whether it may be somebody''s STOP: then nothing is sent until a person has seen it';
COMMENT ON COLUMN sms.quarantine.seen_at IS 'When a person had looked at it; null: nobody has';
COMMENT ON COLUMN sms.quarantine.seen_by IS 'Who that was';
COMMENT ON COLUMN sms.quarantine.seen_reason IS 'What became of it, in their words';
