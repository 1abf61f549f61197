#!/bin/sh
# Makes the database's password, once. Only the database and the coordinator have this volume.
set -eu
file=/run/fedward/database/password
[ -s "$file" ] && exit 0
python -c 'import secrets; print(secrets.token_urlsafe(32))' > "$file.part"
mv "$file.part" "$file"
