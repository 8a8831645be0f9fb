-- What is counted from rows about people, and what was noted of those that are erased.
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
        coalesce(sum(number) FILTER (WHERE what = 'delivered'), 0)::bigint AS delivered,
        coalesce(sum(number) FILTER (WHERE what = 'refused'), 0)::bigint AS refused,
        coalesce(sum(number) FILTER (WHERE what = 'not_delivered'), 0)::bigint AS not_delivered,
        coalesce(sum(number) FILTER (WHERE what = 'pending'), 0)::bigint AS pending,
        coalesce(sum(number) FILTER (WHERE what = 'unknown'), 0)::bigint AS unknown,
        coalesce(sum(number) FILTER (WHERE what = 'missing'), 0)::bigint AS missing
    FROM (
        SELECT coalesce(a.outcome, 'missing') AS what, count(*) AS number
        FROM sms.submission s
        JOIN sms.message m ON m.submission_id = s.id
        LEFT JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote
        WHERE s.run_key = r.run_key AND s.state IN ('submitted', 'accepted', 'reported', 'closed')
        GROUP BY a.outcome
        UNION ALL
        SELECT e.what, e.number
        FROM sms.submission s JOIN sms.erased e ON e.submission_id = s.id
        WHERE s.run_key = r.run_key AND s.state IN ('submitted', 'accepted', 'reported', 'closed')
    ) AS counted
) AS outcomes
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(number) FILTER (WHERE what = 'STOP'), 0)::bigint AS stops,
        coalesce(sum(number) FILTER (WHERE what = 'SMSMO'), 0)::bigint AS replies
    FROM (
        SELECT a.kind AS what, count(*) AS number
        FROM sms.submission s JOIN sms.reply a ON a.submission_id = s.id
        WHERE s.run_key = r.run_key
        GROUP BY a.kind
        UNION ALL
        SELECT e.what, e.number
        FROM sms.submission s JOIN sms.erased e ON e.submission_id = s.id
        WHERE s.run_key = r.run_key
    ) AS counted
) AS answers
CROSS JOIN LATERAL (
    SELECT coalesce(sum(number), 0)::bigint AS late_stops
    FROM (
        SELECT count(*) AS number
        FROM sms.submission s
        JOIN sms.message m ON m.submission_id = s.id
        JOIN sms.opt_out o ON o.msisdn = m.msisdn
        WHERE s.run_key = r.run_key AND s.state IN ('submitted', 'accepted', 'reported', 'closed')
            AND o.recorded_at > s.submitted_at
            AND o.opted_out_at < greatest(s.send_at, s.submitted_at)
        UNION ALL
        SELECT e.number
        FROM sms.submission s JOIN sms.erased e ON e.submission_id = s.id
        WHERE s.run_key = r.run_key AND s.state IN ('submitted', 'accepted', 'reported', 'closed')
            AND e.what = 'late_stop'
    ) AS counted
) AS late;

CREATE OR REPLACE VIEW sms.variant_summary AS
SELECT
    counted.*,
    CASE WHEN missing < sent THEN round(delivered::numeric / sent, 6) END AS delivery_rate,
    round(stops::numeric / sent, 6) AS stop_rate
FROM (
    SELECT
        campaign,
        run_key,
        variant,
        send_at,
        sum(number)::bigint AS sent,
        sum(segments)::bigint AS segments,
        coalesce(sum(number) FILTER (WHERE what = 'delivered'), 0)::bigint AS delivered,
        coalesce(sum(number) FILTER (WHERE what = 'refused'), 0)::bigint AS refused,
        coalesce(sum(number) FILTER (WHERE what = 'not_delivered'), 0)::bigint AS not_delivered,
        coalesce(sum(number) FILTER (WHERE what = 'pending'), 0)::bigint AS pending,
        coalesce(sum(number) FILTER (WHERE what = 'unknown'), 0)::bigint AS unknown,
        coalesce(sum(number) FILTER (WHERE what = 'missing'), 0)::bigint AS missing,
        sum(stops)::bigint AS stops
    FROM (
        SELECT
            r.campaign,
            r.run_key,
            m.variant,
            r.send_at,
            coalesce(a.outcome, 'missing') AS what,
            count(*) AS number,
            sum(m.segments) AS segments,
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
        GROUP BY r.campaign, r.run_key, m.variant, r.send_at, a.outcome
        UNION ALL
        SELECT
            r.campaign,
            r.run_key,
            e.variant,
            r.send_at,
            e.what,
            CASE WHEN e.what IN ('segments', 'stopped') THEN 0 ELSE e.number END,
            CASE WHEN e.what = 'segments' THEN e.number ELSE 0 END,
            CASE WHEN e.what = 'stopped' THEN e.number ELSE 0 END
        FROM sms.campaign_run r
        JOIN sms.submission s ON s.run_key = r.run_key
        JOIN sms.erased e ON e.submission_id = s.id
        WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed') AND e.variant <> ''
    ) AS noted
    GROUP BY campaign, run_key, variant, send_at
) AS counted;

COMMENT ON VIEW sms.delivery IS
    'One row a message that was sent, and what became of it; rows expire, the summary keeps their counts';
