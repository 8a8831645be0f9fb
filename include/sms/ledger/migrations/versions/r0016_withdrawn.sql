-- Set where no rename was asked for after all, or the gateway refused it; the next intent clears it.
ALTER TABLE sms.submission ADD COLUMN rename_withdrawn_at timestamptz;
