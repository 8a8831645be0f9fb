CREATE VIEW sms.quarantine AS
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
    f.archive
FROM sms.unreadable_row u
LEFT JOIN sms.report_file f ON f.name = u.report
LEFT JOIN sms.submission s ON s.id = f.submission_id
LEFT JOIN sms.campaign_run r ON r.run_key = s.run_key;

COMMENT ON VIEW sms.quarantine IS
    'Rows of reports that could not be read, with the reason: a person must look. Personal data';
COMMENT ON COLUMN sms.quarantine.kind IS 'ACK (delivery report), STOP or SMSMO';
COMMENT ON COLUMN sms.quarantine.report IS 'The report''s file name';
COMMENT ON COLUMN sms.quarantine.campaign IS 'The campaign that it reports on, where known';
COMMENT ON COLUMN sms.quarantine.stem IS 'The file that it reports on, where known';
COMMENT ON COLUMN sms.quarantine.line IS 'The row''s first line in the report';
COMMENT ON COLUMN sms.quarantine.reason IS 'Why it could not be read: the row ... so and so';
COMMENT ON COLUMN sms.quarantine.text IS 'The row as it stands; bytes outside ASCII as \ooo';
COMMENT ON COLUMN sms.quarantine.recorded_at IS 'When it was first met';
COMMENT ON COLUMN sms.quarantine.gone_at IS
    'When the report was read without it: completed meanwhile, or vanished; null while it is there';
COMMENT ON COLUMN sms.quarantine.archive IS 'Where in the archive the report''s last state lies';

CREATE VIEW sms.unmatched_report AS
SELECT name, kind, rows, unreadable, modified_at, loaded_at, archive
FROM sms.report_file
WHERE submission_id IS NULL;

COMMENT ON VIEW sms.unmatched_report IS
    'Reports on files that this ledger does not know; matched by themselves once it does';
COMMENT ON COLUMN sms.unmatched_report.name IS 'The report''s file name';
COMMENT ON COLUMN sms.unmatched_report.kind IS 'ACK (delivery report), STOP or SMSMO';
COMMENT ON COLUMN sms.unmatched_report.rows IS 'How many of its rows could be read';
COMMENT ON COLUMN sms.unmatched_report.unreadable IS 'How many could not: see sms.quarantine';
COMMENT ON COLUMN sms.unmatched_report.modified_at IS 'When the provider changed it last';
COMMENT ON COLUMN sms.unmatched_report.loaded_at IS 'When it was read last';
COMMENT ON COLUMN sms.unmatched_report.archive IS 'Where it lies in the archive';

CREATE VIEW sms.reconciliation AS
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
    ) AS unreadable
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

COMMENT ON VIEW sms.reconciliation IS
    'One row a file that was sent: sent = delivered + refused + not_delivered + pending + unknown + missing';
COMMENT ON COLUMN sms.reconciliation.campaign IS 'The campaign''s folder name';
COMMENT ON COLUMN sms.reconciliation.run_key IS 'The Airflow run: dag id/run id';
COMMENT ON COLUMN sms.reconciliation.stem IS 'The file''s name at the gateway, without extension';
COMMENT ON COLUMN sms.reconciliation.state IS 'submitted, accepted, reported or closed';
COMMENT ON COLUMN sms.reconciliation.send_at IS 'When the gateway was told to send it';
COMMENT ON COLUMN sms.reconciliation.due_at IS 'From when on its delivery report may be looked for';
COMMENT ON COLUMN sms.reconciliation.reported_at IS 'When its delivery report was loaded last; null: not yet';
COMMENT ON COLUMN sms.reconciliation.sent IS 'Its messages';
COMMENT ON COLUMN sms.reconciliation.delivered IS 'Messages that reached the phone';
COMMENT ON COLUMN sms.reconciliation.refused IS 'Messages that the operator refused';
COMMENT ON COLUMN sms.reconciliation.not_delivered IS 'Messages that did not reach the phone';
COMMENT ON COLUMN sms.reconciliation.pending IS 'Messages reported without a final status';
COMMENT ON COLUMN sms.reconciliation.unknown IS 'Messages reported with a status code we do not know';
COMMENT ON COLUMN sms.reconciliation.missing IS 'Messages that no report told of yet';
COMMENT ON COLUMN sms.reconciliation.partial IS
    'True if its delivery report leaves messages out: the balance may have run out';
COMMENT ON COLUMN sms.reconciliation.report_rows IS
    'Readable rows of the delivery report: told of, duplicates and strangers';
COMMENT ON COLUMN sms.reconciliation.duplicates IS 'Rows on a message that a later row tells of';
COMMENT ON COLUMN sms.reconciliation.strangers IS 'Rows on messages that the file never held';
COMMENT ON COLUMN sms.reconciliation.unreadable IS 'Rows that could not be read: see sms.quarantine';
