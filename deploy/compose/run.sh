#!/bin/sh
# Builds the network, waits until every part of it is healthy, runs examples/quickstart.yaml across it, and takes it down
# with its containers, networks, volumes and images. `make compose` calls it.
#
#   KEEP=1 deploy/compose/run.sh       leaves it running
#   OVERLAY=tls deploy/compose/run.sh  adds deploy/compose.tls.yml; gpu likewise
set -eu
cd "$(dirname "$0")/../.."

if docker compose version >/dev/null 2>&1; then engine="docker compose"; else engine="docker-compose"; fi
compose() { $engine --project-name fedward --file docker-compose.yml ${OVERLAY:+--file "deploy/compose.$OVERLAY.yml"} "$@"; }

take_down() {
  status=$?
  if [ "$status" -ne 0 ]; then compose logs --tail 30; fi
  if [ "${KEEP:-}" = 1 ]; then
    echo "The network is kept. To take it down: $engine --project-name fedward down --volumes --remove-orphans"
  else
    compose down --volumes --remove-orphans
    docker image rm fedward-console:compose fedward-coordinator:compose fedward-node:compose >/dev/null
  fi
  exit "$status"
}
trap take_down EXIT
trap 'exit 130' INT TERM

compose build
compose up --detach
compose run --rm quickstart
compose ps
