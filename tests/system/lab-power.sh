#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Power may fail at any time: what a snapshot stands on is on the disk before the store calls it ready,
# and a file goes only when the store has forgotten it for good: by the order of labd's calls. And
# an import that labd did not see get there
# TIMEOUT: 300
# REQUIRES: root tun dnsmasq curl jq strace
. "${SRCDIR:-.}/tests/lib.sh"
need tiny
trace=$TEST_DIR/trace

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks: { mgmt: { cidr: 10.20.0.0/24 } }
instances: { a: { image: tiny, memory: 96M, networks: [mgmt] } }
YAML
# traced COMMAND...: what labd does meanwhile is in $trace
traced()
{
	rm -f "$TEST_DIR/strace.log" # what the one before said
	strace -f -y -s 300 -o "$trace" -e trace=fsync,fdatasync,unlink,unlinkat,rename,renameat,pwrite64,write \
		-p "$LABD_PID" 2>"$TEST_DIR/strace.log" &
	tracer=$!
	wait_for "strace" 30 grep -q attached "$TEST_DIR/strace.log"
	"$@" >/dev/null
	kill -INT $tracer
	wait $tracer || true
}
# line PATTERN [last]: of the trace, the first or the last
line() { { grep -nE -- "$1" "$trace" || true; } | cut -d: -f1 | if [ "${2:-}" ]; then tail -1; else head -1; fi; }
# before WHAT A B: line A comes before line B, and both are there
before() { [ "${2:-0}" -gt 0 ] && [ "${3:-0}" -gt 0 ] && [ "$2" -lt "$3" ] || fail "$1: line ${2:-none} and ${3:-none}: $(grep -v 'pwrite64\|write(' "$trace" | head -60)"; }

labctl up -q -G "$TEST_DIR/lab.yaml"

say "a running instance"
traced labctl snapshot create lab one
disk=$(line 'fsync\([0-9]+<[^>]*/snapshots/[0-9/]+root.qcow2>\) *= 0')
before "memory, then the manifest" "$(line 'f(data)?sync\([0-9]+<[^>]*/ram>\)')" "$(line 'rename.*manifest.json')"
before "devices, then the manifest" "$(line 'fsync\([0-9]+<[^>]*/state.qcow2>\)')" "$(line 'rename.*manifest.json')"
before "disks, then the manifest" "$disk" "$(line 'rename.*manifest.json')"
before "all of it, then the last commit on the disk" "$(line 'fsync\([0-9]+<[^>]*/snapshots>\)' last)" \
	"$(line 'f(data)?sync\([0-9]+<[^>]*labd.db-wal>\)' last)"
dirs=$(line 'fsync\([0-9]+<[^>]*/snapshots>\)' last)
ready=$(tail -n +"$dirs" "$trace" | grep -nE 'pwrite64\([0-9]+<[^>]*labd.db-wal>' | head -1 | cut -d: -f1)
before "the commit, then its sync" $((dirs + ready - 1)) "$(line 'f(data)?sync\([0-9]+<[^>]*labd.db-wal>\)' last)"

say "a restore: the disks of before go last"
traced labctl snapshot restore lab one
before "the rows, then the files" "$(line 'f(data)?sync\([0-9]+<[^>]*labd.db-wal>\)')" \
	"$(line 'unlink(at)?\([^)]*/labs/[0-9/]+root[^)]*qcow2')"

say "an instance that does not run"
labctl stop lab/a >/dev/null
traced labctl snapshot create lab two
gone=$(line 'unlink(at)?\([^)]*/labs/[0-9/]+root[^)]*qcow2')
before "rows, then the old name" "$(line 'f(data)?sync\([0-9]+<[^>]*labd.db-wal>\)')" "$gone"
before "its disk, then the last commit" "$(line 'fsync\([0-9]+<[^>]*/snapshots/[0-9/]+root.qcow2>\)')" \
	"$(line 'f(data)?sync\([0-9]+<[^>]*labd.db-wal>\)' last)"

say "and all of it removed"
traced labctl rm -y lab
before "rows, then files" "$(line 'f(data)?sync\([0-9]+<[^>]*labd.db-wal>\)')" "$(line 'unlink(at)?\(.*"ram"')"

say "an import: read before it is on the disk, checked if labd has not seen it get there"
qemu-img create -q -f raw "$TEST_DIR/x.raw" 8M
head -c 4M /dev/urandom | dd of="$TEST_DIR/x.raw" conv=notrunc status=none
image() { api GET "/v1/images/$1" | jq -r ".$2"; }
ready() { [ "$(image "$1" state)" = ready ]; }
# fsync_does WHAT: from now on, in labd, by strace
fsync_does()
{
	strace -f -qq -o "$trace" -e trace=fsync -e inject="fsync:$1" -p "$LABD_PID" &
	tracer=$!
	wait_for "strace" 30 grep -q "^TracerPid:.*[1-9]" "/proc/$LABD_PID/status"
}
# killed_before_sync NAME: imported while nothing gets to the disk; its directory is in $dir
killed_before_sync()
{
	fsync_does delay_enter=60000000
	labctl image import -d "$TEST_DIR/x.raw" "$1" >/dev/null
	wait_for "$1 to be ready" 30 ready "$1"
	wait_for "labd to be syncing it" 30 grep -q fsync "$trace"
	check_eq "claimed by" 0 "$(image "$1" job)"
	dir=$(image "$1" path)
	kill -9 "$LABD_PID" $tracer # the delay is strace's
	wait "$LABD_PID" $tracer 2>/dev/null || true
	LABD_PID=
}
killed_before_sync good
labd_start
check_eq "state" ready "$(image good state)"
qemu-img compare -q -f raw -F qcow2 "$TEST_DIR/x.raw" "$dir/disk.qcow2" || fail "not what was imported"
labctl image rm -y good >/dev/null
killed_before_sync bad
printf x | dd of="$dir/disk.qcow2" bs=1 seek=1M conv=notrunc status=none
labd_start
check_fails 1 "no.* image bad" labctl image show bad
[ ! -e "$dir" ] || fail "$dir is still there"

say "one that the disk does not take"
fsync_does error=EIO
check_fails 1 "Input/output error" labctl image import "$TEST_DIR/x.raw" lost
kill -INT $tracer
wait $tracer || true
check_eq "state" failed "$(image lost state)"
labd_kill
labd_start
check_eq "state when the next labd has found it whole" ready "$(image lost state)"
