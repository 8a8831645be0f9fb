-- Since when a report at the gateway is as we saw it last, by our own clock alone.
CREATE TABLE sms.sighting (
    name text PRIMARY KEY,
    size_bytes bigint NOT NULL,
    modified_at timestamptz NOT NULL,
    sha256 text NOT NULL,
    since timestamptz NOT NULL,
    fetched_at timestamptz NOT NULL
);

-- Reports are merged: of so many messages, the latest one leaves out what an earlier one stated.
ALTER TABLE sms.submission ADD COLUMN report_kept integer;

CREATE OR REPLACE VIEW sms.reconciliation AS
SELECT
    r.campaign,
    s.run_key,
    s.stem,
    s.state,
    s.send_at,
    s.due_at,
    s.report_loaded_at AS reported_at,
    s.messages AS sent,
    told.delivered,
    told.refused,
    told.not_delivered,
    told.pending,
    told.unknown,
    told.missing,
    s.report_loaded_at IS NOT NULL AND told.missing > 0 AS partial,
    s.report_rows,
    s.report_duplicates AS duplicates,
    told.strangers,
    (
        SELECT count(*) FROM sms.report_file f JOIN sms.unreadable_row u ON u.report = f.name
        WHERE f.submission_id = s.id AND f.kind = 'ACK' AND u.gone_at IS NULL
    ) AS unreadable,
    coalesce(s.report_kept, 0) AS kept
FROM sms.submission s
JOIN sms.campaign_run r ON r.run_key = s.run_key
CROSS JOIN LATERAL (
    -- Counted at loading, so it stays true when rows about people are gone.
    SELECT
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'delivered'), 0)::bigint AS delivered,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'refused'), 0)::bigint AS refused,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'not_delivered'), 0)::bigint AS not_delivered,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'pending'), 0)::bigint AS pending,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'unknown'), 0)::bigint AS unknown,
        coalesce(sum(c.messages) FILTER (WHERE c.outcome = 'missing'), 0)::bigint AS missing,
        (SELECT count(*) FROM sms.stranger x WHERE x.submission_id = s.id) + (
            SELECT coalesce(sum(e.number), 0)::bigint FROM sms.erased e
            WHERE e.submission_id = s.id AND e.what = 'stranger'
        ) AS strangers
    FROM sms.outcome_count c
    WHERE c.submission_id = s.id
) AS told
WHERE s.state IN ('submitted', 'accepted', 'reported', 'closed');

COMMENT ON COLUMN sms.reconciliation.report_rows IS
    'Readable rows of the latest delivery report: told of, duplicates and strangers';
COMMENT ON COLUMN sms.reconciliation.kept IS
    'Outcomes that an earlier delivery report stated and the latest one leaves out';
