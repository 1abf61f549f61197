#!/bin/sh
# What a researcher does: waits for three hospitals that have told of their data, makes a study of them, and runs
# examples/quickstart.yaml in it. What remains is the table, on standard output.
set -eu
FEDWARD_KEY=$(cat /run/fedward/administrator/key)
export FEDWARD_KEY
counted='import json, sys; print(sum(bool(site["online"] and site["datasets"]) for site in json.load(sys.stdin)))'

waited=0
until [ "$(fedward site list --json | python -c "$counted")" -ge 3 ]; do
  waited=$((waited + 1))
  [ "$waited" -lt 120 ] || { echo "the hospitals have not all reported: their logs say why" >&2; exit 1; }
  sleep 2
done

fedward site list
fedward study create quickstart --site north --site river --site hill
run=$(fedward run submit /examples/quickstart.yaml --study quickstart)
fedward run watch "$run"
