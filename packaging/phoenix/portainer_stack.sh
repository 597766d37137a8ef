#!/usr/bin/env bash
# Deploys Portainer's stack in this Swarm and has it serve the certificate that Pinion keeps here. Takes the place of the part
# of the Phoenix scripts that removed and made secrets: one that is in use cannot be removed, so Portainer kept its old pair.
#
#   portainer_stack.sh COMMON_NAME STACK_FILE
#
# Wants: a manager of the Swarm, with pinion-agent joined and running, and a placement of the certificate `portainer` for this
# guest with the recipe `portainer-swarm`. In the stack file, portainer_tls_cert.pem, portainer_tls_key.pem and
# portainer_tls_ca.pem are external secrets of the service `portainer`. The first of them are made here, of the pair that is
# installed; from then on the agent gives the service a version for each renewal. Can be called again at any time.
#
# Exits with 0 when Portainer serves the certificate; otherwise with docker's code or with pinion-agent's: 3 not in time
# (still being tried) · 4 needs a person · 5 the agent does not run · 6 no such certificate.
#
# Can be told in the environment: CERTIFICATE, STACK (both `portainer`); UNTIL, the stage to wait for (`served`); TIMEOUT, how
# long each wait may take; ROOT, a directory that stands for /.
set -euo pipefail

ROOT=${ROOT:-}
CERTIFICATE=${CERTIFICATE:-portainer}
STACK=${STACK:-portainer}
UNTIL=${UNTIL:-served}
TIMEOUT=${TIMEOUT:-5m}

if [ $# -ne 2 ]; then
  echo "usage: ${0##*/} COMMON_NAME STACK_FILE" >&2
  exit 2
fi
files=$ROOT/etc/pinion/certs/$1
stack=$2

await() {
  pinion-agent --root "${ROOT:-/}" await "$CERTIFICATE" --until "$1" --timeout "$TIMEOUT"
}

# A stack whose secrets are missing is not deployed, so the pair comes first.
await installed
for part in cert:crt key:key ca:ca.crt; do
  secret=portainer_tls_${part%%:*}.pem
  if ! docker secret inspect "$secret" >/dev/null 2>&1; then
    docker secret create "$secret" "$files.${part#*:}" >/dev/null
  fi
done
docker stack deploy --compose-file "$stack" "$STACK"

# A deployment gives the service its first secrets again; the agent looks now, and gives it those of the current pair.
await "$UNTIL"
