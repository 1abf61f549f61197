#!/bin/sh
# Makes an authority and the certificate that it signs for a coordinator, once. The authority's key is not kept, so it
# signs nothing else.
#
#   certificates.sh FOLDER NAME
#
# FOLDER then holds authority.pem, coordinator.pem and coordinator.key. The certificate holds for NAME, by which
# hospitals call the coordinator, and for 127.0.0.1, where its SuperLink answers.
set -eu
folder=$1 name=$2
[ -s "$folder/coordinator.pem" ] && exit 0
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 077

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -nodes -days 365 -subj "/CN=Authority of $name" \
  -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$work/authority.key" -out "$folder/authority.pem"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:secp384r1 -nodes -subj "/CN=$name" \
  -keyout "$folder/coordinator.key" -out "$work/request.pem"
printf 'subjectAltName=DNS:%s,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nauthorityKeyIdentifier=keyid\n' "$name" \
  > "$work/extensions"
openssl x509 -req -in "$work/request.pem" -CA "$folder/authority.pem" -CAkey "$work/authority.key" \
  -set_serial "0x$(openssl rand -hex 16)" -days 365 -extfile "$work/extensions" -out "$work/coordinator.pem"
chmod 644 "$folder/authority.pem" "$work/coordinator.pem"
mv "$work/coordinator.pem" "$folder/coordinator.pem"
