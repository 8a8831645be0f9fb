-- A proof goes to phones of the sender's own, under the keys of recipients: it is no run of a
-- campaign, no message to these recipients, and what answers it is none of theirs.
CREATE FUNCTION sms.is_proof(run_key text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN position('/proof-' IN run_key) > 0;

-- The task of a run that failed for good, and why, in a sentence about no person.
ALTER TABLE sms.campaign_run
    ADD COLUMN failed_at timestamptz,
    ADD COLUMN failed_task text,
    ADD COLUMN failed_why text;

-- What a later attempt has moved counts as failed no more.
CREATE FUNCTION sms.has_failed(key text, failed_at timestamptz) RETURNS boolean
LANGUAGE sql STABLE PARALLEL SAFE
RETURN failed_at IS NOT NULL AND NOT EXISTS (
    SELECT FROM sms.event e WHERE e.run_key = key AND e.at > failed_at
);

-- When a task last succeeded that must succeed again and again.
CREATE TABLE sms.last_success (
    task text PRIMARY KEY,
    at timestamptz NOT NULL
);

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
    -- The one number that is counted from messages, and only where it is asked for.
    (SELECT CASE WHEN bool_or(s.dropped_at IS NOT NULL) THEN NULL ELSE coalesce(sum((
        SELECT count(*) FROM sms.message m JOIN sms.opt_out o ON o.msisdn = m.msisdn
        WHERE m.submission_id = s.id AND m.sent_on = s.sent_on
            AND o.recorded_at > s.submitted_at
            AND o.opted_out_at < greatest(s.send_at, s.submitted_at)
        ) + (
        SELECT coalesce(sum(e.number), 0) FROM sms.erased e
        WHERE e.submission_id = s.id AND e.what = 'late_stop'
        )), 0)::bigint END
    FROM sms.submission s
    WHERE s.run_key = r.run_key AND s.state IN ('submitted', 'accepted', 'reported', 'closed')
    ) AS late_stops,
    (r.send_at AT TIME ZONE 'Europe/Paris')::date AS day,
    CASE
        WHEN r.dry_run AND (failure.at IS NULL OR files.live IS NULL) THEN 'dry run'
        WHEN files.live IS NULL THEN 'cancelled'
        WHEN files.live ? 'unknown' THEN 'unknown'
        WHEN files.live ? 'rejected' THEN 'rejected'
        WHEN files.ahead IS NOT NULL THEN CASE
            WHEN failure.at IS NOT NULL THEN 'failed'
            -- By then no try is left, and the people were chosen too long ago.
            WHEN files.ahead < now() - interval '1 day' THEN 'failed'
            WHEN files.sent IS NOT NULL THEN 'sending'
            WHEN files.live ? 'uploading' THEN 'uploading'
            WHEN files.live ? 'prepared' THEN 'prepared'
            ELSE 'planned' END
        WHEN files.live ? 'submitted' THEN 'submitted'
        WHEN files.live ? 'accepted' THEN 'sent'
        WHEN files.unreported THEN 'closed'
        ELSE 'reported'
    END AS status,
    failure.at AS failed_at,
    failure.task AS failed_task,
    failure.why AS failed_why
FROM sms.campaign_run r
CROSS JOIN LATERAL (
    SELECT
        (SELECT jsonb_object_agg(state, number) FROM (
            SELECT state, count(*) AS number FROM sms.submission
            WHERE run_key = r.run_key GROUP BY state) AS by_state) AS states,
        jsonb_object_agg(s.state, s.id) AS live,
        max(s.send_at) FILTER (WHERE s.state IN ('planned', 'prepared', 'uploading')) AS ahead,
        bool_or(s.state = 'closed' AND s.report_loaded_at IS NULL) AS unreported,
        sum(s.messages) FILTER (WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed')) AS sent,
        sum(s.segments) FILTER (WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed')) AS segments,
        sum((SELECT sum(number::bigint) FROM jsonb_each_text(s.late_out) AS late (reason, number))) AS late_out
    FROM sms.submission s
    WHERE s.run_key = r.run_key AND s.state <> 'cancelled'
) AS files
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'delivered'), 0) AS delivered,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'refused'), 0) AS refused,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'not_delivered'), 0) AS not_delivered,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'pending'), 0) AS pending,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'unknown'), 0) AS unknown,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'missing'), 0) AS missing
    FROM sms.submission s
    JOIN sms.outcome_count c ON c.submission_id = s.id
    WHERE s.run_key = r.run_key AND s.state IN ('submitted', 'accepted', 'reported', 'closed')
) AS outcomes
CROSS JOIN LATERAL (
    SELECT coalesce(sum(c.stop_rows), 0) AS stops, coalesce(sum(c.reply_rows), 0) AS replies
    FROM sms.submission s JOIN sms.answer_count c ON c.submission_id = s.id
    WHERE s.run_key = r.run_key
) AS answers
LEFT JOIN LATERAL (
    SELECT r.failed_at AS at, r.failed_task AS task, r.failed_why AS why
    WHERE sms.has_failed(r.run_key, r.failed_at)
) AS failure ON true
WHERE NOT sms.is_proof(r.run_key);

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
WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed') AND NOT sms.is_proof(s.run_key);

CREATE OR REPLACE VIEW sms.answer AS
SELECT
    r.campaign,
    s.run_key,
    s.stem,
    s.sent_on AS day,
    m.country,
    m.variant,
    m.segments,
    CASE WHEN NOT sms.is_proof(s.run_key) THEN m.key END AS key,
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

CREATE OR REPLACE VIEW sms.delivery_summary AS
SELECT
    counted.*,
    CASE WHEN missing < sent THEN round(delivered::numeric / sent, 6) END AS delivery_rate
FROM (
    SELECT
        r.campaign,
        s.run_key,
        s.sent_on AS day,
        c.country,
        c.variant,
        c.segments,
        sum(c.messages) AS sent,
        sum(c.messages * c.segments) AS sms,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'delivered'), 0) AS delivered,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'refused'), 0) AS refused,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'not_delivered'), 0) AS not_delivered,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'pending'), 0) AS pending,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'unknown'), 0) AS unknown,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'missing'), 0) AS missing
    FROM sms.submission s
    JOIN sms.campaign_run r ON r.run_key = s.run_key
    JOIN sms.outcome_count c ON c.submission_id = s.id
    WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed') AND NOT sms.is_proof(s.run_key)
    GROUP BY r.campaign, s.run_key, s.sent_on, c.country, c.variant, c.segments
) AS counted;

CREATE OR REPLACE VIEW sms.stop_rate AS
SELECT counted.*, round(stops::numeric / sent, 6) AS stop_rate
FROM (
    SELECT
        r.campaign,
        s.run_key,
        s.sent_on AS day,
        c.country,
        c.variant,
        c.segments,
        sum(c.messages)::bigint AS sent,
        coalesce(sum(a.people), 0) AS stops,
        coalesce(sum(a.reply_rows), 0) AS replies
    FROM sms.submission s
    JOIN sms.campaign_run r ON r.run_key = s.run_key
    JOIN (
        SELECT submission_id, country, variant, segments, sum(messages) AS messages
        FROM sms.outcome_count
        GROUP BY submission_id, country, variant, segments
    ) AS c ON c.submission_id = s.id
    LEFT JOIN sms.answer_count a ON a.submission_id = c.submission_id AND a.country = c.country
        AND coalesce(a.variant, '') = coalesce(c.variant, '') AND a.segments = c.segments
    WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed') AND NOT sms.is_proof(s.run_key)
    GROUP BY r.campaign, s.run_key, s.sent_on, c.country, c.variant, c.segments
) AS counted;

COMMENT ON VIEW sms.campaign_summary IS
    'One row a run of a campaign, proofs excepted: its status, exclusions, messages and outcomes';
COMMENT ON COLUMN sms.campaign_summary.status IS
    'dry run, planned, prepared, uploading, sending (some files are ahead), submitted, sent (accepted), reported, closed (a month without report), cancelled, rejected, unknown, or failed: a task failed for good, or the hour passed more than a day ago';
COMMENT ON COLUMN sms.campaign_summary.failed_at IS 'When a task of the run failed for good; null once a later attempt went on';
COMMENT ON COLUMN sms.campaign_summary.failed_task IS 'Which task that was';
COMMENT ON COLUMN sms.campaign_summary.failed_why IS 'Its error, in a sentence';
COMMENT ON VIEW sms.delivery IS 'One row a message to a recipient, proofs excepted, with what became of it';
COMMENT ON COLUMN sms.answer.key IS
    'The recipient''s key in the warehouse; null where the number is not in that file, or the file is a proof';
COMMENT ON VIEW sms.delivery_summary IS
    'What was sent, proofs excepted, and what became of it: one row a run, day, country, variant and segment count';
COMMENT ON VIEW sms.stop_rate IS
    'Who said STOP to what, proofs excepted: one row a run, day, country, variant and segment count';
