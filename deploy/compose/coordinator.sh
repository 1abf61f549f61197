#!/bin/sh
# Starts the coordinator with the database's password out of its file; options of `fedward server` may follow.
set -eu
password=$(cat /run/fedward/database/password)
export FEDWARD_DATABASE="postgresql://fedward:$password@database:5432/fedward"
exec fedward server --home /srv/fedward --host 0.0.0.0 --key-file /run/fedward/administrator/key "$@"
