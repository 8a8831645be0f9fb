-- Counts come from what was counted at loading, so a year of them is thousands of rows.
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
    (r.send_at AT TIME ZONE 'Europe/Paris')::date AS day
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
) AS answers;

COMMENT ON COLUMN sms.campaign_summary.day IS 'The day in Paris that it was sent on';
COMMENT ON COLUMN sms.campaign_summary.late_stops IS
    'People who said STOP after the upload and before the hour: the provider may have left them out. Null once the messages were dropped';

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
    m.variant,
    m.sent_on AS day,
    m.country
FROM sms.message m
LEFT JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
    AND a.sent_on = m.sent_on
JOIN sms.submission s ON s.id = m.submission_id AND s.sent_on = m.sent_on
JOIN sms.campaign_run r ON r.run_key = s.run_key
WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed');

COMMENT ON COLUMN sms.delivery.day IS
    'The day in Paris that it was sent on; by this the table is cut into months, so ask for few of them';
COMMENT ON COLUMN sms.delivery.country IS 'The number''s country, ISO 3166';

CREATE VIEW sms.delivery_summary AS
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
    WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed')
    GROUP BY r.campaign, s.run_key, s.sent_on, c.country, c.variant, c.segments
) AS counted;

COMMENT ON VIEW sms.delivery_summary IS
    'What was sent and what became of it: one row a run, day, country, variant and segment count';
COMMENT ON COLUMN sms.delivery_summary.campaign IS 'The campaign''s folder name';
COMMENT ON COLUMN sms.delivery_summary.run_key IS 'The Airflow run: dag id/run id';
COMMENT ON COLUMN sms.delivery_summary.day IS 'The day in Paris that it was sent on';
COMMENT ON COLUMN sms.delivery_summary.country IS 'The numbers'' country, ISO 3166';
COMMENT ON COLUMN sms.delivery_summary.variant IS
    'Which of the campaign''s texts; null in a campaign without variants';
COMMENT ON COLUMN sms.delivery_summary.segments IS 'How many SMS each of these messages takes';
COMMENT ON COLUMN sms.delivery_summary.sent IS 'Messages in files that the gateway has and did not reject';
COMMENT ON COLUMN sms.delivery_summary.sms IS 'SMS billed for them: messages times segments';
COMMENT ON COLUMN sms.delivery_summary.delivered IS 'Messages that reached the phone';
COMMENT ON COLUMN sms.delivery_summary.refused IS 'Messages that the operator refused';
COMMENT ON COLUMN sms.delivery_summary.not_delivered IS 'Messages that did not reach the phone';
COMMENT ON COLUMN sms.delivery_summary.pending IS 'Messages reported without a final status';
COMMENT ON COLUMN sms.delivery_summary.unknown IS 'Messages reported with a status code we do not know';
COMMENT ON COLUMN sms.delivery_summary.missing IS 'Messages that no report told of yet';
COMMENT ON COLUMN sms.delivery_summary.delivery_rate IS
    'delivered / sent; null until a report told of any of them';

CREATE VIEW sms.stop_rate AS
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
    WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed')
    GROUP BY r.campaign, s.run_key, s.sent_on, c.country, c.variant, c.segments
) AS counted;

COMMENT ON VIEW sms.stop_rate IS
    'Who said STOP to what: one row a run, day, country, variant and segment count';
COMMENT ON COLUMN sms.stop_rate.campaign IS 'The campaign''s folder name';
COMMENT ON COLUMN sms.stop_rate.run_key IS 'The Airflow run: dag id/run id';
COMMENT ON COLUMN sms.stop_rate.day IS 'The day in Paris that the messages were sent on';
COMMENT ON COLUMN sms.stop_rate.country IS 'The numbers'' country, ISO 3166';
COMMENT ON COLUMN sms.stop_rate.variant IS
    'Which of the campaign''s texts; null in a campaign without variants';
COMMENT ON COLUMN sms.stop_rate.segments IS 'How many SMS each of these messages takes';
COMMENT ON COLUMN sms.stop_rate.sent IS 'Messages in files that the gateway has and did not reject';
COMMENT ON COLUMN sms.stop_rate.stops IS
    'People who answered STOP, each once, in a STOP report or in a reply like one';
COMMENT ON COLUMN sms.stop_rate.replies IS 'Rows of SMSMO reports by these people';
COMMENT ON COLUMN sms.stop_rate.stop_rate IS 'stops / sent';

CREATE OR REPLACE VIEW sms.variant_summary AS
SELECT
    counted.*,
    CASE WHEN missing < sent THEN round(delivered::numeric / sent, 6) END AS delivery_rate,
    round(stops::numeric / sent, 6) AS stop_rate
FROM (
    SELECT
        r.campaign,
        r.run_key,
        c.variant,
        r.send_at,
        sum(c.sent)::bigint AS sent,
        sum(c.sms)::bigint AS segments,
        sum(c.delivered)::bigint AS delivered,
        sum(c.refused)::bigint AS refused,
        sum(c.not_delivered)::bigint AS not_delivered,
        sum(c.pending)::bigint AS pending,
        sum(c.unknown)::bigint AS unknown,
        sum(c.missing)::bigint AS missing,
        sum(a.stops)::bigint AS stops
    FROM sms.campaign_run r
    JOIN sms.delivery_summary c ON c.run_key = r.run_key
    JOIN sms.stop_rate a ON a.run_key = c.run_key AND a.day = c.day AND a.country = c.country
        AND a.variant = c.variant AND a.segments = c.segments
    GROUP BY r.campaign, r.run_key, c.variant, r.send_at
) AS counted;

CREATE VIEW sms.answer AS
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

COMMENT ON VIEW sms.answer IS 'One row a STOP or a reply, with the message that it answered';
COMMENT ON COLUMN sms.answer.campaign IS 'The campaign that was answered, null where we never sent that file';
COMMENT ON COLUMN sms.answer.run_key IS 'The Airflow run: dag id/run id';
COMMENT ON COLUMN sms.answer.stem IS 'The file that was answered';
COMMENT ON COLUMN sms.answer.day IS 'The day in Paris that the message was sent on';
COMMENT ON COLUMN sms.answer.country IS 'The number''s country, ISO 3166';
COMMENT ON COLUMN sms.answer.variant IS
    'Which of the campaign''s texts; null in a campaign without variants';
COMMENT ON COLUMN sms.answer.segments IS 'How many SMS the message took';
COMMENT ON COLUMN sms.answer.key IS 'The recipient''s key in the warehouse; null where the number is not in that file';
COMMENT ON COLUMN sms.answer.msisdn IS 'The number, international, without the +';
COMMENT ON COLUMN sms.answer.kind IS 'STOP (from a STOP report) or SMSMO (any other reply)';
COMMENT ON COLUMN sms.answer.replied_at IS 'When; null where the report says it in no way that we know';
COMMENT ON COLUMN sms.answer.message IS 'What the person wrote';
COMMENT ON COLUMN sms.answer.asks_to_stop IS 'True for a STOP, and for a reply that asks to stop';
