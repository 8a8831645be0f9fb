CREATE TABLE sms.campaign_run (
    run_key        text PRIMARY KEY,
    campaign       text NOT NULL,
    kind           text NOT NULL CONSTRAINT campaign_run_kind CHECK (kind IN ('marketing', 'transactional')),
    service_id     text NOT NULL,
    send_at        timestamptz NOT NULL,
    slot_reason    text NOT NULL,
    dry_run        boolean NOT NULL,
    planned_at     timestamptz NOT NULL,
    folder         text NOT NULL,
    candidates     integer,
    audience       integer,
    screened_out   jsonb,
    rendered_out   jsonb,
    replaced       jsonb,
    stop_list_size bigint
);
CREATE INDEX campaign_run_campaign_send_at ON sms.campaign_run (campaign, send_at);

CREATE TABLE sms.submission (
    id                 bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_key            text NOT NULL REFERENCES sms.campaign_run,
    stem               text NOT NULL UNIQUE,
    service_id         text GENERATED ALWAYS AS (split_part(stem, '-', 2)) STORED,
    campaign_id        text GENERATED ALWAYS AS (split_part(stem, '-', 5)) STORED,
    part               smallint NOT NULL,
    parts              smallint NOT NULL,
    state              text NOT NULL CONSTRAINT submission_state CHECK (state IN (
                           'planned', 'prepared', 'uploading', 'unknown', 'submitted', 'accepted',
                           'rejected', 'reported', 'closed', 'cancelled')),
    send_at            timestamptz NOT NULL,
    messages           integer,
    segments           integer,
    sha256             text,
    size_bytes         bigint,
    claim              text,
    claimed_at         timestamptz,
    rename_intended_at timestamptz,
    submitted_at       timestamptz,
    verdict_at         timestamptz,
    due_at             timestamptz,
    reported_at        timestamptz,
    late_out           jsonb,
    report_rows        integer,
    report_duplicates  integer,
    report_loaded_at   timestamptz,
    CONSTRAINT submission_part CHECK (part BETWEEN 1 AND parts),
    CONSTRAINT submission_claimed CHECK (state <> 'uploading' OR claim IS NOT NULL)
);
CREATE UNIQUE INDEX submission_one_live_part ON sms.submission (run_key, part)
    WHERE state <> 'cancelled';
CREATE INDEX submission_report_name ON sms.submission (service_id, lower(campaign_id));
CREATE INDEX submission_state_due_at ON sms.submission (state, due_at);

-- What was sent, and what was reported of it: two tables, each written once by COPY, because to
-- update a million rows costs ten times as much as to write them. No foreign keys on either: the
-- check of each row would double the time, and a claimed submission can't be deleted anyway.
CREATE TABLE sms.message (
    submission_id bigint NOT NULL,
    idremote      text COLLATE "C" NOT NULL, -- bytes: a language's order costs time in an index
    msisdn        bigint NOT NULL,
    key           text NOT NULL,
    segments      smallint NOT NULL,
    PRIMARY KEY (submission_id, idremote)
);
CREATE INDEX message_msisdn ON sms.message (msisdn);

-- One row a message, no row where nothing was reported. The key is checked at the commit: until
-- then a loader may have put in a report's duplicates, and taken them out again.
CREATE TABLE sms.receipt (
    submission_id bigint NOT NULL,
    line          bigint NOT NULL,
    idremote      text COLLATE "C" NOT NULL,
    msisdn        bigint,
    idstatus      smallint,
    outcome       text NOT NULL CONSTRAINT receipt_outcome CHECK (outcome IN (
                      'delivered', 'refused', 'not_delivered', 'pending', 'unknown')),
    ackoperator   text,
    raw_status    text,
    PRIMARY KEY (submission_id, idremote) DEFERRABLE INITIALLY DEFERRED
);

CREATE TABLE sms.opt_out (
    msisdn       bigint PRIMARY KEY,
    opted_out_at timestamptz NOT NULL,
    source       text NOT NULL CONSTRAINT opt_out_source CHECK (source IN ('stop_report', 'reply', 'import')),
    stem         text,
    message      text,
    recorded_at  timestamptz NOT NULL
);

CREATE TABLE sms.reply (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind           text NOT NULL CONSTRAINT reply_kind CHECK (kind IN ('STOP', 'SMSMO')),
    service_id     text NOT NULL,
    campaign_id    text NOT NULL,
    report         text NOT NULL,
    submission_id  bigint REFERENCES sms.submission,
    msisdn         bigint NOT NULL,
    replied_at     timestamptz,
    raw_date       text NOT NULL,
    raw_hour       text NOT NULL,
    message        text NOT NULL,
    message_digest text NOT NULL,
    idremote       text,
    occurrence     integer NOT NULL,
    recorded_at    timestamptz NOT NULL,
    CONSTRAINT reply_once UNIQUE (
        kind, service_id, campaign_id, msisdn, raw_date, raw_hour, message_digest, occurrence)
);
CREATE INDEX reply_submission_id_kind ON sms.reply (submission_id, kind);
CREATE INDEX reply_msisdn ON sms.reply (msisdn);

CREATE TABLE sms.report_file (
    name          text PRIMARY KEY,
    kind          text NOT NULL CONSTRAINT report_file_kind CHECK (kind IN ('ACK', 'STOP', 'SMSMO')),
    stem          text,
    submission_id bigint REFERENCES sms.submission,
    size_bytes    bigint NOT NULL,
    modified_at   timestamptz NOT NULL,
    sha256        text NOT NULL,
    rows          integer NOT NULL,
    unreadable    integer NOT NULL,
    archive       text NOT NULL,
    loaded_at     timestamptz NOT NULL
);
CREATE INDEX report_file_submission_id ON sms.report_file (submission_id);

CREATE TABLE sms.stranger (
    submission_id bigint NOT NULL REFERENCES sms.submission,
    line          bigint NOT NULL,
    idremote      text NOT NULL,
    msisdn        bigint,
    idstatus      smallint,
    outcome       text NOT NULL,
    ackoperator   text,
    raw_status    text,
    PRIMARY KEY (submission_id, line)
);

-- No foreign keys: the record of what happened outlives what it tells of.
CREATE TABLE sms.event (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    submission_id bigint,
    run_key       text,
    at            timestamptz NOT NULL,
    actor         text NOT NULL,
    from_state    text,
    to_state      text,
    detail        jsonb
);
CREATE INDEX event_submission_id ON sms.event (submission_id);
CREATE INDEX event_run_key ON sms.event (run_key);
CREATE INDEX event_opted_out ON sms.event (id) WHERE detail ? 'opted_out';
