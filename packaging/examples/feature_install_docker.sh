#!/usr/bin/env bash
# Installs dockerd in this guest and has it serve TLS on 2376 with the certificate that Pinion keeps here.
#
# Wants: pinion-agent joined and running, and a placement of the certificate `docker` for this guest with
# the recipe `docker`. Exits with 0 when dockerd serves the certificate; otherwise with pinion-agent's code:
# 3 not in time (still being tried) · 4 needs a person · 5 the agent does not run · 6 no such certificate.
#
# Can be told in the environment: LISTEN, where dockerd serves; TIMEOUT, how long each wait may take;
# ROOT, a directory that stands for / (an agent started with `--root` of the same directory works there).
set -euo pipefail

ROOT=${ROOT:-}
LISTEN=${LISTEN:-tcp://0.0.0.0:2376}
TIMEOUT=${TIMEOUT:-5m}

if ! command -v dockerd >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends docker.io
fi

install -d -m 0755 "$ROOT/etc/docker/tls" "$ROOT/etc/systemd/system/docker.service.d"
cat >"$ROOT/etc/docker/daemon.json" <<JSON
{
  "hosts": ["unix://$ROOT/run/docker.sock", "$LISTEN"],
  "tlsverify": true,
  "tlscacert": "$ROOT/etc/docker/tls/ca.pem",
  "tlscert": "$ROOT/etc/docker/tls/cert.pem",
  "tlskey": "$ROOT/etc/docker/tls/key.pem"
}
JSON
# Debian's unit names a host of its own, which daemon.json may not do as well.
cat >"$ROOT/etc/systemd/system/docker.service.d/hosts.conf" <<'UNIT'
[Service]
ExecStart=
ExecStart=/usr/sbin/dockerd
UNIT
systemctl daemon-reload

# With these settings dockerd does not start without its files, so they come first.
pinion-agent --root "${ROOT:-/}" await docker --until installed --timeout "$TIMEOUT"

systemctl enable docker.service
systemctl restart docker.service

# A TLS handshake with dockerd shows the new certificate.
pinion-agent --root "${ROOT:-/}" await docker --until served --timeout "$TIMEOUT"
