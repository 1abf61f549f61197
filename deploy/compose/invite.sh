#!/bin/sh
# What the administrator does for a hospital: invites it, once, and hands over the token, with the certificate of the
# coordinator's authority where there is one.
#
#   invite.sh SITE
set -eu
token=/run/fedward/invitations/token
[ -s "$token" ] && exit 0
[ -z "${FEDWARD_CA:-}" ] || cp "$FEDWARD_CA" /run/fedward/invitations/authority.pem
FEDWARD_KEY=$(cat /run/fedward/administrator/key)
export FEDWARD_KEY
fedward site invite "$1" > "$token.part"
mv "$token.part" "$token"
