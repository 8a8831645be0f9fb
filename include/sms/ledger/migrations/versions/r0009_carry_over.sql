SELECT sms.open_month(month) FROM (
    SELECT DISTINCT date_trunc('month', s.sent_on)::date AS month FROM sms.submission s
    WHERE s.uploaded_at IS NOT NULL OR s.rename_intended_at IS NOT NULL OR s.submitted_at IS NOT NULL
        OR EXISTS (SELECT FROM sms.message_whole m WHERE m.submission_id = s.id)
) AS needed;

INSERT INTO sms.message (submission_id, msisdn, sent_on, segments, country, idremote, key, variant)
SELECT m.submission_id, m.msisdn, s.sent_on, m.segments, sms.country_of(m.msisdn), m.idremote, m.key, m.variant
FROM sms.message_whole m JOIN sms.submission s ON s.id = m.submission_id;

INSERT INTO sms.receipt (submission_id, line, msisdn, sent_on, idstatus, idremote, outcome, ackoperator, raw_status)
SELECT a.submission_id, a.line, a.msisdn, s.sent_on, a.idstatus, a.idremote, a.outcome, a.ackoperator, a.raw_status
FROM sms.receipt_whole a JOIN sms.submission s ON s.id = a.submission_id;

INSERT INTO sms.outcome_count (submission_id, country, variant, segments, outcome, messages)
SELECT m.submission_id, m.country, m.variant, m.segments, coalesce(a.outcome, 'missing'), count(*)
FROM sms.message m
LEFT JOIN sms.receipt a ON a.submission_id = m.submission_id AND a.idremote = m.idremote AND a.sent_on = m.sent_on
GROUP BY 1, 2, 3, 4, 5;

UPDATE sms.reply a SET asks_to_stop = a.kind = 'STOP' OR EXISTS (
    SELECT FROM sms.opt_out o JOIN sms.submission s ON s.stem = o.stem
    WHERE o.msisdn = a.msisdn AND s.id = a.submission_id);
ALTER TABLE sms.reply ALTER COLUMN asks_to_stop SET NOT NULL;

INSERT INTO sms.answer_count (submission_id, country, variant, segments, stop_rows, reply_rows, people)
SELECT a.submission_id, m.country, m.variant, m.segments,
    count(*) FILTER (WHERE a.kind = 'STOP'), count(*) FILTER (WHERE a.kind = 'SMSMO'),
    count(DISTINCT a.msisdn) FILTER (WHERE a.asks_to_stop)
FROM sms.reply a
LEFT JOIN (
    SELECT DISTINCT ON (submission_id, msisdn) submission_id, msisdn, country, variant, segments
    FROM sms.message ORDER BY submission_id, msisdn, idremote
) AS m ON m.submission_id = a.submission_id AND m.msisdn = a.msisdn
WHERE a.submission_id IS NOT NULL
GROUP BY 1, 2, 3, 4;

-- Of people who are erased nobody knows the country and the length of their text any more.
INSERT INTO sms.outcome_count (submission_id, country, variant, segments, outcome, messages)
SELECT submission_id, '', nullif(variant, ''), 0, what, number FROM sms.erased
WHERE what IN ('delivered', 'refused', 'not_delivered', 'pending', 'unknown', 'missing');

INSERT INTO sms.answer_count AS kept (submission_id, stop_rows, reply_rows, people)
SELECT submission_id, coalesce(sum(number) FILTER (WHERE what = 'STOP'), 0),
    coalesce(sum(number) FILTER (WHERE what = 'SMSMO'), 0), 0
FROM sms.erased WHERE what IN ('STOP', 'SMSMO') GROUP BY submission_id
ON CONFLICT ON CONSTRAINT answer_count_once DO UPDATE SET
    stop_rows = kept.stop_rows + excluded.stop_rows,
    reply_rows = kept.reply_rows + excluded.reply_rows;

INSERT INTO sms.answer_count (submission_id, country, variant, segments, stop_rows, reply_rows, people)
SELECT submission_id, '', nullif(variant, ''), 0, 0, 0, number FROM sms.erased
WHERE what = 'stopped';
