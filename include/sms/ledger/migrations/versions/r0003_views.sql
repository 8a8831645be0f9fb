CREATE OR REPLACE VIEW sms.campaign_summary AS
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
    answers.replies,
    late.late_stops
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
) AS answers
CROSS JOIN LATERAL (
    SELECT count(*) AS late_stops
    FROM sms.submission s
    JOIN sms.message m ON m.submission_id = s.id
    JOIN sms.opt_out o ON o.msisdn = m.msisdn
    WHERE s.run_key = r.run_key AND s.state IN ('submitted', 'accepted', 'reported', 'closed')
        AND o.recorded_at > s.submitted_at
        AND o.opted_out_at < greatest(s.send_at, s.submitted_at)
) AS late;

COMMENT ON COLUMN sms.campaign_summary.late_stops IS
    'People who said STOP after the upload and before the hour: the provider may have left them out';
