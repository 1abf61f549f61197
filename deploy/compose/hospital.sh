#!/bin/sh
# What the engineer of a simulated hospital does, each step once: lays out data, enrols, decides, approves, and starts
# the agent.
#
#   hospital.sh SITE
set -eu
home=/srv/fedward
images=/srv/data/images.npz

if [ ! -e "$images" ]; then
  fedward data generate --out /tmp/hospitals
  cp "/tmp/hospitals/$1.npz" "$images.part" # another file system: killed meanwhile, it leaves no half of the data
  mv "$images.part" "$images"
  rm -r /tmp/hospitals
fi

if [ ! -e "$home/membership.json" ]; then
  FEDWARD_TOKEN=$(cat /run/fedward/invitations/token)
  export FEDWARD_TOKEN
  case $FEDWARD_URL in
    https:*) fedward agent enrol --coordinator "$FEDWARD_URL" --home "$home" --ca "$FEDWARD_CA" ;;
    *) fedward agent enrol --coordinator "$FEDWARD_URL" --home "$home" --insecure ;;
  esac
fi

if [ ! -e "$home/approvals.json" ]; then
  cp /network/site.yaml "$home/site.yaml"
  fedward agent approve --release --home "$home"
fi

exec fedward agent run --home "$home"
