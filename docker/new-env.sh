#!/bin/sh
# Writes .env from .env.example, with a fresh secret for each empty variable that needs one.
set -eu
umask 077
cd "$(dirname "$0")/.."

if [ -e .env ]; then
    echo ".env exists already and is not changed: its Fernet key decrypts the stored connections" >&2
    exit 1
fi

hexadecimal() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }
fernet_key() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }

while IFS= read -r line; do
    case $line in
        *_FERNET_KEY=) echo "$line$(fernet_key)" ;;
        *_PASSWORD= | *_SECRET= | *_STOP_LIST_KEY=) echo "$line$(hexadecimal)" ;;
        *) printf '%s\n' "$line" ;;
    esac
done <.env.example >.env.new
mv .env.new .env
echo "wrote .env"
