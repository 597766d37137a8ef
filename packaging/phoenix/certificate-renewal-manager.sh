#!/usr/bin/env bash
# Takes the place of the Phoenix scripts' certificate-renewal-manager.sh, for cron jobs and scripts that still call it.
# Pinion renews certificates by itself; this script asks how they are, and waits for them.
#
#   certificate-renewal-manager.sh            prints one line and exits by the worst placement, as `pinion status --check`
#   certificate-renewal-manager.sh --force    waits until every certificate is installed in the guests that run. Nothing
#                                             that is good is issued again, and no service is restarted for it. Guests
#                                             that do not exist yet or do not run are named, and are no failure.
#   certificate-renewal-manager.sh --reissue  the same with new certificates
#
# Exits with pinion's code: 0 done · 1 internal failure · 2 usage, or a bad manifest or configuration · 3 not in time, still
# being tried · 4 needs a person · 5 the controller cannot be reached.
#
# Can be told in the environment: TIMEOUT, how long to wait (10m); ROOT, a directory that stands for /.
set -euo pipefail

ROOT=${ROOT:-/}
TIMEOUT=${TIMEOUT:-10m}

usage() {
  echo "usage: ${0##*/} [--force | --reissue]" >&2
  exit 2
}

pinion() {
  command pinion --root "$ROOT" "$@"
}

[ $# -le 1 ] || usage
case ${1:-} in
  '') pinion status --check; exit ;;
  --force) renew=() ;;
  --reissue) renew=(--renew) ;;
  *) usage ;;
esac
command -v jq >/dev/null || { echo "${0##*/}: jq is not installed: apt-get install jq" >&2; exit 2; }

# The guests in which the manifest has placements, and how each is; where Proxmox is not asked, a guest is there once it
# has joined.
status=$(pinion --json status)
listed=$(pinion --json guest list)
guests=$(jq -nr --argjson status "$status" --argjson listed "$listed" '
  ($status.placements | map(select(.retired | not) | .guest // (.placement | split("@") | last)) | unique)[] as $guest
  | ([$listed[] | select(.guest == $guest)] | first // {}) as $there
  | if $there.missing or ($there.running == null and $there.joined_at == null) then "\($guest) not-built-yet"
    elif $there.template then "\($guest) a-template"
    elif $there.node != null then "\($guest) on-another-node"
    elif $there.running == false then "\($guest) stopped"
    else "\($guest) there" end')

selected=()
while read -r guest state; do
  case $state in
    '') ;;
    there) selected+=(--guest "$guest") ;;
    *) echo "guest $guest is ${state//-/ }: its certificates are installed when its agent is linked" >&2 ;;
  esac
done <<<"$guests"
if [ ${#selected[@]} -eq 0 ]; then
  echo "no guest of the manifest runs yet: nothing to wait for" >&2
  exit 0
fi
pinion ensure "${selected[@]}" "${renew[@]}" --until installed --timeout "$TIMEOUT"
