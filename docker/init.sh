#!/usr/bin/env bash
# Prepares the stack. It runs before every start, so each step does only what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

sandbox_is_on() { [[ ",${COMPOSE_PROFILES:-}," == *,sandbox,* ]]; }
say() { echo "init: $*"; }

say "roles and databases"
python docker/databases.py

say "Airflow's database"
airflow db migrate

say "the ledger"
sms ledger upgrade

say "the login"
python docker/login.py

if sandbox_is_on; then
    say "the sample warehouse"
    python -m demo.warehouse "$SMS_SAMPLE_WAREHOUSE_URL"

    say "connections to the sandbox"
    connections=$(mktemp --suffix=.json) # mode 0600: it contains a private key
    trap 'rm -f "$connections"' EXIT
    python docker/sandbox_connections.py >"$connections"
    airflow connections import --overwrite "$connections"
elif [[ -z "${AIRFLOW_CONN_SMS_GATEWAY:-}" || -z "${AIRFLOW_CONN_SMS_WAREHOUSE:-}" ]]; then
    say "without the sandbox, the connections sms_gateway and sms_warehouse must be in .env or" \
        "in Airflow: docs/runbook.md, *Connect a real gateway*"
fi
say "ready"
