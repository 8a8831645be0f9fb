-- A column that a view reads can't change its type. Emptied for the moment and not dropped, the
-- two views keep what was granted on them.
CREATE OR REPLACE VIEW sms.delivery AS
SELECT r.campaign, r.run_key, s.stem, s.part, s.send_at, ''::text AS key, 0::bigint AS msisdn,
    '' COLLATE "C" AS idremote, 0::smallint AS segments, '' AS outcome, 0::smallint AS idstatus,
    '' AS ackoperator, s.report_loaded_at AS reported_at, '' AS variant, s.sent_on AS day,
    '' AS country
FROM sms.submission s JOIN sms.campaign_run r ON r.run_key = s.run_key
WHERE false;

CREATE OR REPLACE VIEW sms.answer AS
SELECT r.campaign, s.run_key, s.stem, s.sent_on AS day, '' AS country, '' AS variant,
    0::smallint AS segments, '' AS key, a.msisdn, a.kind, a.replied_at, a.message, a.asks_to_stop
FROM sms.reply a
JOIN sms.submission s ON s.id = a.submission_id
JOIN sms.campaign_run r ON r.run_key = s.run_key
WHERE false;

-- An outcome follows from the provider's code (R31): not stored, it can't contradict it.
CREATE FUNCTION sms.outcome_of(idstatus smallint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE idstatus
    WHEN 0 THEN 'pending' WHEN 1 THEN 'pending' WHEN 2 THEN 'pending'
    WHEN 3 THEN 'delivered' WHEN 4 THEN 'refused' WHEN 6 THEN 'not_delivered'
    ELSE 'unknown'
END;

ALTER TABLE sms.message ALTER COLUMN idremote TYPE uuid USING idremote::uuid;
ALTER TABLE sms.receipt DROP COLUMN outcome, ALTER COLUMN idremote TYPE uuid USING idremote::uuid;

CREATE OR REPLACE VIEW sms.delivery AS
SELECT
    r.campaign,
    r.run_key,
    s.stem,
    s.part,
    s.send_at,
    m.key,
    m.msisdn,
    encode(uuid_send(m.idremote), 'hex') COLLATE "C" AS idremote,
    m.segments,
    CASE WHEN a.line IS NULL THEN 'missing' ELSE sms.outcome_of(a.idstatus) END AS outcome,
    a.idstatus,
    a.ackoperator,
    CASE WHEN a.line IS NOT NULL THEN s.report_loaded_at END AS reported_at,
    m.variant,
    m.sent_on AS day,
    m.country
FROM sms.message m
LEFT JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
    AND a.sent_on = m.sent_on
JOIN sms.submission s ON s.id = m.submission_id AND s.sent_on = m.sent_on
JOIN sms.campaign_run r ON r.run_key = s.run_key
WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed');

CREATE OR REPLACE VIEW sms.answer AS
SELECT
    r.campaign,
    s.run_key,
    s.stem,
    s.sent_on AS day,
    m.country,
    m.variant,
    m.segments,
    m.key,
    a.msisdn,
    a.kind,
    a.replied_at,
    a.message,
    a.asks_to_stop
FROM sms.reply a
LEFT JOIN sms.submission s ON s.id = a.submission_id
LEFT JOIN sms.campaign_run r ON r.run_key = s.run_key
LEFT JOIN LATERAL (
    SELECT m.country, m.variant, m.segments, m.key FROM sms.message m
    WHERE m.submission_id = s.id AND m.sent_on = s.sent_on AND m.msisdn = a.msisdn
    ORDER BY m.idremote LIMIT 1
) AS m ON true;
