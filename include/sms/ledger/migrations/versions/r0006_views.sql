CREATE OR REPLACE VIEW sms.delivery AS
SELECT
    r.campaign,
    r.run_key,
    s.stem,
    s.part,
    s.send_at,
    m.key,
    m.msisdn,
    m.idremote,
    m.segments,
    coalesce(a.outcome, 'missing') AS outcome,
    a.idstatus,
    a.ackoperator,
    CASE WHEN a.outcome IS NOT NULL THEN s.report_loaded_at END AS reported_at,
    m.variant
FROM sms.message m
LEFT JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
JOIN sms.submission s ON s.id = m.submission_id
JOIN sms.campaign_run r ON r.run_key = s.run_key
WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed');

COMMENT ON COLUMN sms.delivery.variant IS
    'Which of the campaign''s texts it is; null in a campaign without variants';

CREATE VIEW sms.variant_summary AS
SELECT
    counted.*,
    CASE WHEN missing < sent THEN round(delivered::numeric / sent, 6) END AS delivery_rate,
    round(stops::numeric / sent, 6) AS stop_rate
FROM (
    SELECT
        r.campaign,
        r.run_key,
        m.variant,
        r.send_at,
        count(*) AS sent,
        sum(m.segments) AS segments,
        count(*) FILTER (WHERE a.outcome = 'delivered') AS delivered,
        count(*) FILTER (WHERE a.outcome = 'refused') AS refused,
        count(*) FILTER (WHERE a.outcome = 'not_delivered') AS not_delivered,
        count(*) FILTER (WHERE a.outcome = 'pending') AS pending,
        count(*) FILTER (WHERE a.outcome = 'unknown') AS unknown,
        count(*) FILTER (WHERE a.outcome IS NULL) AS missing,
        count(stop.msisdn) AS stops
    FROM sms.campaign_run r
    JOIN sms.submission s ON s.run_key = r.run_key
    JOIN sms.message m ON m.submission_id = s.id
    LEFT JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
    -- Each person once, however often they said it, in a STOP report or in a reply like one.
    LEFT JOIN (
        SELECT submission_id, msisdn FROM sms.reply WHERE kind = 'STOP'
        UNION
        SELECT answered.id, o.msisdn
        FROM sms.opt_out o JOIN sms.submission answered ON answered.stem = o.stem
    ) AS stop ON stop.submission_id = m.submission_id AND stop.msisdn = m.msisdn
    WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed') AND m.variant IS NOT NULL
    GROUP BY r.campaign, r.run_key, m.variant, r.send_at
) AS counted;

COMMENT ON VIEW sms.variant_summary IS
    'One row a variant of a run: what was sent of it, what became of it, who said STOP to it';
COMMENT ON COLUMN sms.variant_summary.campaign IS 'The campaign''s folder name';
COMMENT ON COLUMN sms.variant_summary.run_key IS 'The Airflow run: dag id/run id';
COMMENT ON COLUMN sms.variant_summary.variant IS 'Which of the campaign''s texts';
COMMENT ON COLUMN sms.variant_summary.send_at IS 'When the gateway was told to send';
COMMENT ON COLUMN sms.variant_summary.sent IS 'Messages in files that the gateway has and did not reject';
COMMENT ON COLUMN sms.variant_summary.segments IS 'SMS billed for them';
COMMENT ON COLUMN sms.variant_summary.delivered IS 'Messages that reached the phone';
COMMENT ON COLUMN sms.variant_summary.refused IS 'Messages that the operator refused';
COMMENT ON COLUMN sms.variant_summary.not_delivered IS 'Messages that did not reach the phone';
COMMENT ON COLUMN sms.variant_summary.pending IS 'Messages reported without a final status';
COMMENT ON COLUMN sms.variant_summary.unknown IS 'Messages reported with a status code we do not know';
COMMENT ON COLUMN sms.variant_summary.missing IS 'Messages that no report told of yet';
COMMENT ON COLUMN sms.variant_summary.stops IS
    'People who answered STOP to a message of this variant, each once';
COMMENT ON COLUMN sms.variant_summary.delivery_rate IS
    'delivered / sent; null until a report told of any of them';
COMMENT ON COLUMN sms.variant_summary.stop_rate IS 'stops / sent';
