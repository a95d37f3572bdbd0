# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# lib.sh - helpers of system tests
#
#	. "${SRCDIR:-.}/tests/lib.sh"
#
# A test stops at the first command that fails, and says which. It never
# sleeps: it waits for something, with wait_for, and writes what.

if [ -z "${TEST_DIR:-}" ]; then # run by hand: through the runner, for a clean place
	exec "$(dirname "${BASH_SOURCE[0]}")/run" --slow "$(basename "$0" .sh)"
fi

set -Eeuo pipefail
trap 'echo "${BASH_SOURCE[0]##*/}:$LINENO: failed: $BASH_COMMAND" >&2' ERR
trap lib_exit EXIT
LABD_PID=
LAB=${LAB:-lab}
LIB_CLEANUP=()

# ---- results -------------------------------------------------------------------

say()
{
	printf '%6.1f  %s\n' "$(awk "BEGIN { print $EPOCHREALTIME - $LIB_START }")" "$*"
}
LIB_START=$EPOCHREALTIME

fail()
{
	say "FAILED: $*" >&2
	exit 1
}

# skip REASON: names what is missing
skip()
{
	echo "skip: $*"
	exit 77
}

# check_eq WHAT EXPECTED ACTUAL
check_eq()
{
	[ "$2" = "$3" ] || fail "$1: expected '$2', got '$3'"
}

# check_match WHAT REGEX TEXT
check_match()
{
	[[ $3 =~ $2 ]] || fail "$1: expected something like '$2', got '$3'"
}

# check_fails STATUS REGEX COMMAND...: it exits with STATUS and its words match
check_fails()
{
	local want=$1 regex=$2 text status=0
	shift 2
	text=$("$@" 2>&1 </dev/null) || status=$?
	[ $status = "$want" ] || fail "$*: expected exit status $want, got $status: $text"
	[[ $text =~ $regex ]] || fail "$*: expected words like '$regex', got: $text"
}

# on_exit COMMAND...: run at the end, pass or fail, last one first
on_exit()
{
	LIB_CLEANUP=("$(printf '%q ' "$@")" "${LIB_CLEANUP[@]}")
}

lib_exit()
{
	local status=$? c
	trap - ERR
	set +e
	for c in "${LIB_CLEANUP[@]}"; do
		eval "$c"
	done
	[ -z "$LABD_PID" ] || labd_stop || [ $status != 0 ] || status=1
	if [ $status != 0 ] && [ $status != 77 ] && [ -s "$TEST_DIR/labd.log" ]; then
		echo "--- the end of labd.log:"
		tail -n 12 "$TEST_DIR/labd.log"
	fi
	exit $status
}

# ---- waiting -------------------------------------------------------------------

exec {LIB_NEVER}<> <(:)

# pause SECONDS: wait without a process
pause()
{
	read -r -t "$1" -u "$LIB_NEVER" || true
}

# wait_for WHAT SECONDS COMMAND...: until the command succeeds
wait_for()
{
	local what=$1 seconds=$(($2 * ${TEST_TIMES:-1})) start=$SECONDS delay=10
	shift 2
	until "$@" >/dev/null 2>&1; do
		[ $((SECONDS - start)) -le "$seconds" ] || fail "waited $seconds s for $what"
		pause "0.$(printf %03d $delay)"
		delay=$((delay * 3 / 2 < 400 ? delay * 3 / 2 : 400))
	done
	say "$what: after $((SECONDS - start)) s"
}

not()
{
	! "$@"
}

# ---- labd ------------------------------------------------------------------------

# api METHOD PATH [JSON]
api()
{
	curl -sS --fail-with-body --max-time 30 --unix-socket "$LABD_RUN/labd.sock" \
		-X "$1" ${3:+--json "$3"} "http://labd$2"
}

labd_settled()
{
	! alive "$LABD_PID" || api GET /v1/version
}

# labd_start: what it says goes to labd.log
labd_start()
{
	labd >>"$TEST_DIR/labd.log" 2>&1 &
	LABD_PID=$!
	wait_for "labd to answer" 10 labd_settled
	alive "$LABD_PID" || fail "labd ended at its start: $(tail -n 3 "$TEST_DIR/labd.log")"
}

# mount_tree DIR: the tree, until the test ends
mount_tree()
{
	mkdir "$1"
	mkdir -p "$LABD_STATE/images"
	on_exit umount -l "$1"
	labfs "$1"
}

# labd_stop: as a service manager does; labs go on
labd_stop()
{
	local pid=$LABD_PID status=0
	LABD_PID=
	kill "$pid" 2>/dev/null || return 0
	timeout -k 1 10 tail --pid="$pid" -f /dev/null || kill -9 "$pid"
	wait "$pid" || status=$?
	[ $status = 0 ] || say "labd ended with status $status"
	return $status
}

# labd_kill: as a crash does
labd_kill()
{
	kill -9 "$LABD_PID"
	wait "$LABD_PID" 2>/dev/null || true
	LABD_PID=
}

# need IMAGE...: the image exists in this test's labd. The runner has built it
# into $LABD_IMAGE_CACHE, so that this is only a link.
need()
{
	local image
	[ -n "$LABD_PID" ] || labd_start
	for image; do
		labctl image build "$image" || fail "no image $image: see tests/out/images/$image/log"
	done
}

# ---- labs: of the lab $LAB, unless a name is given as LAB/INSTANCE ---------------

# inst NAME FIELD: a value of an instance, as docs/api.md names it
inst()
{
	local lab=$LAB name=$1
	case $name in */*) lab=${name%%/*} name=${name#*/} ;; esac
	api GET "/v1/labs/$lab/instances/$name" | jq -r ".$2"
}

in_state()
{
	[ "$(inst "$1" state)" = "$2" ]
}

# wait_state INSTANCE STATE [SECONDS]
wait_state()
{
	wait_for "$1 to be $2" "${3:-30}" in_state "$1" "$2"
}

# guest INSTANCE COMMAND...: in the guest, through its agent
guest()
{
	local name=$1
	shift
	case $name in */*) ;; *) name=$LAB/$name ;; esac
	labctl exec "$name" -- "$@"
}

# alive PID: it exists and is no zombie
alive()
{
	[ -e "/proc/$1/stat" ] && [ "$(sed 's/.*) //; s/ .*//' "/proc/$1/stat")" != Z ]
}

# lab_world: everything of labs that is on this machine now, one a line; compare
# before and after. The store, logs and images are not of a lab.
lab_world()
{
	local p
	if [ -n "${TEST_CGROUP:-}" ]; then
		while read -r p; do
			case $(cat "/proc/$p/comm" 2>/dev/null) in
			labkeeper | qemu* | dnsmasq | labbuild | labfs)
				echo "process $(cat "/proc/$p/comm")" ;;
			esac
		done <"$TEST_CGROUP/cgroup.procs"
	fi
	ip -o link | awk -F': ' '{ sub(/@.*/, "", $2); print "link " $2 }'
	nft list tables
	ip netns list
	awk '{ print "mount " $5 }' /proc/self/mountinfo
	find "$LABD_RUN" -mindepth 1 -printf 'run %P\n' | sed 's/labd\.[a-z]*$/labd.*/' | sort -u
	[ ! -d "$LABD_STATE/labs" ] || find "$LABD_STATE/labs" -mindepth 1 -printf 'state %P\n'
}
