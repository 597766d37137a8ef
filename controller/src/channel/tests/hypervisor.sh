#!/bin/sh
# Stands for pct and qm. A guest is a directory beside this file: guests/VMID. What it says of itself and how its
# tools fail is in files there: `machine`, `mood`, `hold` (a named pipe that join waits on).
here=${0%/*}
tool=${0##*/}
printf '%s' "$tool" >>"$here/calls"
printf ' %s' "$@" >>"$here/calls"
echo >>"$here/calls"

# The tool's own complaints, as opposed to those of the guest's programs.
exec 3>&2

# Runs from the first of these lines to the second: what overlaps was there at once. A hung one has no second line.
turn() { echo "$1 $vmid" >>"$here/turns"; }

# Runs a command as the guest would: every absolute path is one below its directory.
inside() {
	guest=$here/guests/$1
	shift
	# What an application's image lacks.
	if [ -e "$guest/lacks" ] && grep -qx -e "$1" -e all "$guest/lacks"; then
		missing "$1"
		return 127
	fi
	case $1 in
	uname) cat "$guest/machine"; return ;;
	cat)
		cat "$guest/boot"
		return ;;
	ls)
		shift 2
		code=0
		for path; do
			if [ -e "$guest$path" ]; then echo "$path"; else echo "ls: $path: No such file or directory" >&2; code=2; fi
		done
		return $code ;;
	sha256sum)
		shift
		code=0
		for path; do
			if [ -e "$guest$path" ]; then
				echo "$(sha256sum <"$guest$path" | cut -d' ' -f1)  $path"
			else
				echo "sha256sum: $path: No such file or directory" >&2
				code=1
			fi
		done
		return $code ;;
	df)
		echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
		if [ -e "$guest/full" ]; then echo "/dev/sda 100 100 0 100% /"; else echo "/dev/sda 100 0 100000 1% /"; fi
		return ;;
	systemctl | rc-update | rc-service | /etc/pinion/start-agent)
		echo "$*" >>"$guest/services"
		case $* in *disable* | *stop*) rm -f "$guest/running"; return ;; esac
		case $* in *restart* | /etc/*) cp "$guest/usr/bin/pinion-agent" "$guest/running" ;; esac
		return ;;
	/usr/bin/pinion-agent)
		[ -e "$guest$1" ] || return 127
		case $2 in
		join)
			[ -p "$guest/hold" ] && { read -r answer <"$guest/hold" || :; }
			cat >"$guest/token"
			if [ -e "$guest/refuses" ]; then
				echo "pinion-agent: I do not like $(cat "$guest/token")" >&2
				return "$(cat "$guest/refuses")"
			fi
			: >"$guest/var/lib/pinion-agent/identity.json" ;;
		status)
			[ -e "$guest/running" ] || { echo "pinion-agent: the agent's daemon can't be reached" >&2; return 5; }
			who=null
			[ -e "$guest/var/lib/pinion-agent/identity.json" ] && who='"101"'
			echo "{\"version\":\"$(tail -c +21 "$guest/running")\",\"guest\":$who,\"more\":{}}" ;;
		--version) echo "pinion-agent $(tail -c +21 "$guest$1")" ;;
		esac
		return ;;
	esac
	if [ -e "$guest/full" ] && [ "$1" = dd ]; then
		for word; do
			case $word in of=*) head -c 10 >"$guest${word#of=}" ;; esac
		done
		cat >/dev/null
		echo "dd: error writing '/usr/bin/x': No space left on device" >&2
		return 1
	fi
	# At the first use of the program, or at a later one.
	if [ -e "$guest/breaks" ] && [ "$(cat "$guest/breaks")" = "$1" ] && [ "$(cat "$guest/breaks-at" 2>/dev/null || echo 1)" -gt 1 ]; then
		echo $(($(cat "$guest/breaks-at") - 1)) >"$guest/breaks-at"
	elif [ -e "$guest/breaks" ] && [ "$(cat "$guest/breaks")" = "$1" ]; then
		rm "$guest/breaks"
		echo "$1: Input/output error" >&2
		return 1
	fi
	for word; do
		shift
		case $word in
		/*) set -- "$@" "$guest$word" ;;
		of=/*) set -- "$@" "of=$guest${word#of=}" ;;
		*) set -- "$@" "$word" ;;
		esac
	done
	"$@"
}

# As each of the two ways tells of a program that is not there.
missing() {
	if [ "$tool" = pct ]; then
		echo "lxc-attach: $vmid: ../src/lxc/attach.c: lxc_attach_run_command: 1841 No such file or directory - Failed to exec \"$1\"" >&2
	else
		echo "Agent error: Guest agent command failed, error was 'Failed to execute child process “$1” (No such file or directory)'" >&3
		exit 255
	fi
}

escaped() { sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/$/\\n/' "$1" | tr -d '\n'; }

case $tool-$1 in
pct-* | qm-status) vmid=$2 ;;
qm-*) vmid=$3 ;;
esac
turn begin
trap 'turn end' EXIT
config="nodes/pve1/$([ "$tool" = pct ] && echo lxc || echo qemu-server)/$vmid.conf"
[ -d "$here/guests/$vmid" ] || { echo "Configuration file '$config' does not exist" >&2; exit 2; }
mood=$(cat "$here/guests/$vmid/mood" 2>/dev/null)
if [ "$tool-$1" = qm-status ]; then
	echo "name: guest"
	[ "$mood" = paused ] && echo "qmpstatus: paused" || echo "qmpstatus: running"
	echo "status: running"
	exit 0
fi
case $mood in
hang)
	setsid sleep 1000 >/dev/null 2>&1 </dev/null &
	echo "$$ $!" >"$here/guests/$vmid/pids"
	sleep 1000 ;;
garbage) printf '\377\0nonsense'; exit 0 ;;
endless) exec cat /dev/zero ;;
signal) kill -9 $$ ;;
pid) printf '{\n   "pid" : 4711\n}\n'; echo "timeout reached, returning pid" >&2; exit 0 ;;
stopped) [ "$tool" = pct ] && echo "container '$vmid' not running!" >&2 || echo "VM $vmid is not running" >&2; exit 255 ;;
attach) echo "lxc-attach: $vmid: ../src/lxc/attach.c: get_attach_context: 405 Connection refused - Failed to get init pid" >&2; exit 1 ;;
agentless | paused) echo "QEMU guest agent is not running" >&2; exit 255 ;;
frozen)
	[ "$2" = cmd ] && { echo frozen; exit 0; }
	echo "Agent error: Command guest-exec has been disabled: the command is not allowed" >&2; exit 255 ;;
forbidden)
	[ "$2" = cmd ] && { echo thawed; exit 0; }
	echo "Agent error: Command guest-exec has been disabled: the command is not allowed" >&2; exit 255 ;;
busy) echo "VM $vmid qga command 'guest-exec' failed - got timeout" >&2; exit 255 ;;
occupied) echo "VM $vmid qga command 'guest-exec' failed - unable to connect to VM $vmid qga socket - timeout after 31 retries" >&2; exit 255 ;;
locked) echo "CT is locked (backup)" >&2; exit 255 ;;
esac

if [ "$tool" = pct ]; then
	case $1 in
	exec)
		shift 3
		inside "$vmid" "$@"
		exit ;;
	esac
fi

# qm guest exec VMID --timeout N [--pass-stdin 1] -- …
shift 5
given=/dev/null
if [ "$1" = --pass-stdin ]; then
	given=/dev/stdin
	shift 2
fi
shift
work=$(mktemp -d "$here/work.XXXXXX")
inside "$vmid" "$@" <"$given" >"$work/out" 2>"$work/err"
code=$?
printf '{\n   "err-data" : "%s",\n   "exitcode" : %s,\n   "exited" : 1,\n   "out-data" : "%s"\n}\n' \
	"$(escaped "$work/err")" $code "$(escaped "$work/out")"
rm -r "$work"
