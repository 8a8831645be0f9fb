CREATE VIEW sms.delivery AS
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
    CASE WHEN a.outcome IS NOT NULL THEN s.report_loaded_at END AS reported_at
FROM sms.message m
LEFT JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
JOIN sms.submission s ON s.id = m.submission_id
JOIN sms.campaign_run r ON r.run_key = s.run_key
WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed');

COMMENT ON VIEW sms.delivery IS 'One row a message that was sent, and what became of it';
COMMENT ON COLUMN sms.delivery.campaign IS 'The campaign''s folder name';
COMMENT ON COLUMN sms.delivery.run_key IS 'The Airflow run that sent it: dag id/run id';
COMMENT ON COLUMN sms.delivery.stem IS 'The file that carried it, without extension';
COMMENT ON COLUMN sms.delivery.part IS 'Which of the run''s files that was, from 1';
COMMENT ON COLUMN sms.delivery.send_at IS 'When the gateway was told to send it';
COMMENT ON COLUMN sms.delivery.key IS 'The recipient''s identity in the warehouse';
COMMENT ON COLUMN sms.delivery.msisdn IS 'The recipient''s number, international, without the +';
COMMENT ON COLUMN sms.delivery.idremote IS 'Our key of this message, in the file and its reports';
COMMENT ON COLUMN sms.delivery.segments IS 'How many SMS it was billed as';
COMMENT ON COLUMN sms.delivery.outcome IS
    'delivered, refused, not_delivered, pending, unknown, or missing: no report told of it yet';
COMMENT ON COLUMN sms.delivery.idstatus IS 'The provider''s status code, as reported';
COMMENT ON COLUMN sms.delivery.ackoperator IS 'The operator''s own reference of the delivery';
COMMENT ON COLUMN sms.delivery.reported_at IS 'When the report that says so was loaded';

CREATE VIEW sms.campaign_summary AS
SELECT
    r.campaign,
    r.run_key,
    r.kind,
    r.send_at,
    r.dry_run,
    r.candidates,
    coalesce(r.screened_out, '{}') AS screened_out,
    coalesce(r.rendered_out, '{}') AS rendered_out,
    coalesce(files.late_out, 0) AS late_out,
    coalesce(files.states, '{}') AS submissions,
    coalesce(files.sent, 0) AS sent,
    coalesce(files.segments, 0) AS segments,
    outcomes.delivered,
    outcomes.refused,
    outcomes.not_delivered,
    outcomes.pending,
    outcomes.unknown,
    outcomes.missing,
    answers.stops,
    answers.replies
FROM sms.campaign_run r
CROSS JOIN LATERAL (
    SELECT
        (SELECT jsonb_object_agg(state, number) FROM (
            SELECT state, count(*) AS number FROM sms.submission
            WHERE run_key = r.run_key GROUP BY state) AS by_state) AS states,
        sum(s.messages) FILTER (WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed')) AS sent,
        sum(s.segments) FILTER (WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed')) AS segments,
        sum((SELECT sum(number::bigint) FROM jsonb_each_text(s.late_out) AS late (reason, number))) AS late_out
    FROM sms.submission s
    WHERE s.run_key = r.run_key AND s.state <> 'cancelled'
) AS files
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE a.outcome = 'delivered') AS delivered,
        count(*) FILTER (WHERE a.outcome = 'refused') AS refused,
        count(*) FILTER (WHERE a.outcome = 'not_delivered') AS not_delivered,
        count(*) FILTER (WHERE a.outcome = 'pending') AS pending,
        count(*) FILTER (WHERE a.outcome = 'unknown') AS unknown,
        count(*) FILTER (WHERE a.outcome IS NULL) AS missing
    FROM sms.submission s
    JOIN sms.message m ON m.submission_id = s.id
    LEFT JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
    WHERE s.run_key = r.run_key AND s.state IN ('submitted', 'accepted', 'reported', 'closed')
) AS outcomes
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (WHERE a.kind = 'STOP') AS stops,
        count(*) FILTER (WHERE a.kind = 'SMSMO') AS replies
    FROM sms.submission s JOIN sms.reply a ON a.submission_id = s.id
    WHERE s.run_key = r.run_key
) AS answers;

COMMENT ON VIEW sms.campaign_summary IS
    'One row a run of a campaign: who was left out, what was sent, what became of it';
COMMENT ON COLUMN sms.campaign_summary.campaign IS 'The campaign''s folder name';
COMMENT ON COLUMN sms.campaign_summary.run_key IS 'The Airflow run: dag id/run id';
COMMENT ON COLUMN sms.campaign_summary.kind IS 'marketing (bound to the legal hours) or transactional';
COMMENT ON COLUMN sms.campaign_summary.send_at IS 'When the gateway was told to send';
COMMENT ON COLUMN sms.campaign_summary.dry_run IS 'True if nothing was to be sent';
COMMENT ON COLUMN sms.campaign_summary.candidates IS 'How many rows the campaign''s SQL returned';
COMMENT ON COLUMN sms.campaign_summary.screened_out IS 'Left out at screening, by reason';
COMMENT ON COLUMN sms.campaign_summary.rendered_out IS 'Left out at rendering, by reason';
COMMENT ON COLUMN sms.campaign_summary.late_out IS
    'Left out between preparing and renaming, most often by a STOP';
COMMENT ON COLUMN sms.campaign_summary.submissions IS 'The run''s files, counted by state';
COMMENT ON COLUMN sms.campaign_summary.sent IS 'Messages in files that the gateway has and did not reject';
COMMENT ON COLUMN sms.campaign_summary.segments IS 'SMS billed for them';
COMMENT ON COLUMN sms.campaign_summary.delivered IS 'Messages that reached the phone';
COMMENT ON COLUMN sms.campaign_summary.refused IS 'Messages that the operator refused';
COMMENT ON COLUMN sms.campaign_summary.not_delivered IS 'Messages that did not reach the phone';
COMMENT ON COLUMN sms.campaign_summary.pending IS 'Messages reported without a final status';
COMMENT ON COLUMN sms.campaign_summary.unknown IS 'Messages reported with a status code we do not know';
COMMENT ON COLUMN sms.campaign_summary.missing IS 'Messages that no report told of yet';
COMMENT ON COLUMN sms.campaign_summary.stops IS 'Rows of its STOP reports';
COMMENT ON COLUMN sms.campaign_summary.replies IS 'Rows of its SMSMO reports';

CREATE VIEW sms.stop_list AS
SELECT
    o.msisdn,
    o.opted_out_at,
    o.source,
    r.campaign,
    o.stem,
    o.message,
    o.recorded_at
FROM sms.opt_out o
LEFT JOIN sms.submission s ON s.stem = o.stem
LEFT JOIN sms.campaign_run r ON r.run_key = s.run_key;

COMMENT ON VIEW sms.stop_list IS 'Everybody we must not write to, and how we know';
COMMENT ON COLUMN sms.stop_list.msisdn IS 'The number, international, without the +';
COMMENT ON COLUMN sms.stop_list.opted_out_at IS 'The earliest opt-out known';
COMMENT ON COLUMN sms.stop_list.source IS 'stop_report, reply (a STOP-like answer) or import';
COMMENT ON COLUMN sms.stop_list.campaign IS 'The campaign that was answered, where known';
COMMENT ON COLUMN sms.stop_list.stem IS 'The file that was answered, where known';
COMMENT ON COLUMN sms.stop_list.message IS 'What the person wrote, where known';
COMMENT ON COLUMN sms.stop_list.recorded_at IS 'When we learned it';
