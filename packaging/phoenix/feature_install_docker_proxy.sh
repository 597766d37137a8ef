#!/usr/bin/env bash
# Has the docker command line of root in this guest speak TLS with the guest's own dockerd: makes the context `phoenix`, and
# makes it the default. Takes the place of the Phoenix script of this name, which copied the server's pair into the context
# once, so that the context stopped to work with the next renewal.
#
# Wants: dockerd with TLS, as feature_install_docker.sh sets it up; pinion-agent joined and running; and for this guest a
# placement of the certificate `phoenix` (the context's name) with the recipe `docker-context`. Its files are the context's
# own: the agent renews them, and docker reads them at each call. Can be called again at any time.
#
# Exits with 0 when docker answers through the context; otherwise with docker's code or with pinion-agent's: 3 not in time
# (still being tried) · 4 needs a person · 5 the agent does not run · 6 no such certificate.
#
# Can be told in the environment: CONTEXT (`phoenix`), the context and its certificate; CONNECT, where dockerd serves; TIMEOUT,
# how long each wait may take.
set -euo pipefail

CONTEXT=${CONTEXT:-phoenix}
CONNECT=${CONNECT:-tcp://127.0.0.1:2376}
TIMEOUT=${TIMEOUT:-5m}
export HOME=/root

pinion-agent await "$CONTEXT" --until installed --timeout "$TIMEOUT"

# docker copies the files that it is told of; the agent puts the certificate's own in their place at its next look, which the
# last line asks for.
if ! docker context inspect "$CONTEXT" >/dev/null 2>&1; then
  tls=/etc/docker/tls
  docker context create "$CONTEXT" \
    --docker "host=$CONNECT,ca=$tls/ca.pem,cert=$tls/cert.pem,key=$tls/key.pem" >/dev/null
fi
pinion-agent await "$CONTEXT" --timeout "$TIMEOUT"
docker context use "$CONTEXT" >/dev/null
docker version --format 'dockerd {{.Server.Version}} answers through the context '"$CONTEXT"
