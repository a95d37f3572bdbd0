#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-away.sh - labd dies, hangs and comes back under a mounted tree; logs that grow
# TIMEOUT: 120
# REQUIRES: root fuse
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt I=$TEST_DIR/mnt/labs/t/instances

umount_tree()
{
	fusermount3 -u -z "$M" 2>/dev/null || true
}

# timed FROM TO EXPECTED COMMAND...: fails with these words after FROM to TO ms
timed()
{
	local from=$1 to=$2 want=$3 start=${EPOCHREALTIME/./} text ms
	shift 3
	if text=$("$@" 2>&1 </dev/null); then fail "$*: succeeded"; fi
	ms=$(((${EPOCHREALTIME/./} - start) / 1000))
	[[ $text == *"$want"* ]] || fail "$*: expected '$want', got: $text"
	[ $ms -ge "$from" ] && [ $ms -le $((to * ${TEST_TIMES:-1})) ] || fail "$*: took $ms ms"
	say "$want after $ms ms"
}

status_says()
{
	grep -q "^labd $1\$" "$M/status"
}

labfs_pid()
{
	awk '$1 == "pid" { print $2 }' "$M/status"
}

mkdir "$M"
labd_start
on_exit umount_tree
labfs "$M"
mkdir "$M/labs/t" "$I/w"
numbers=$(stat -c %i "$M/labs/t" "$I" "$I/w" "$I/w/state" "$I/w/nics")

# ---- dead: what was known is listed, actions are refused at once
labd_kill
wait_for "labfs to see it" 5 status_says down
check_eq state defined "$(cat "$I/w/state")"
timed 0 500 "Connection refused" bash -c "echo 2 > '$I/w/vcpus'"
timed 0 500 "Connection refused" mkdir "$I/v"
timed 0 500 "Connection refused" rmdir "$I/w"
timed 0 500 "Connection refused" cp /bin/true "$M/images/x.img"
check_match "the error" "no labd answers" "$(cat "$I/w/error")"

# ---- back: the same objects under the same numbers
labd_start
wait_for "labfs to see it" 5 status_says up
check_eq "inode numbers" "$numbers" "$(stat -c %i "$M/labs/t" "$I" "$I/w" "$I/w/state" "$I/w/nics")"
echo 2 >"$I/w/vcpus"
check_eq vcpus 2 "$(cat "$I/w/vcpus")"

# ---- stopped: reading goes on, writing fails in time, and can be interrupted
kill -STOP "$LABD_PID"
on_exit kill -CONT "$LABD_PID"
timed 4500 6000 "Connection timed out" bash -c "echo 1 > '$I/w/vcpus'"
start=${EPOCHREALTIME/./}
cat "$M/status" >/dev/null
[ $(((${EPOCHREALTIME/./} - start) / 1000)) -le 100 ] || fail "/status was slow"
status_says stuck || fail "/status does not say that labd is stuck"
check_eq vcpus 2 "$(cat "$I/w/vcpus")"
timed 0 500 "Connection timed out" mkdir "$I/later"
kill -CONT "$LABD_PID"
# not by this shell: it gets a signal when its child goes on, and is interrupted
bash -c "echo 2 >'$I/w/vcpus'"
status_says up || fail "/status does not say that labd answers again"
kill -STOP "$LABD_PID"
timed 300 1500 "" timeout -s INT 0.5 mkdir "$I/late"
kill -CONT "$LABD_PID"
wait_for "what was interrupted to be done" 10 test -d "$I/late"
[ ! -e "$I/later" ] || fail "what was refused was done"

# ---- a value that changes wakes those who poll it; /events follows
timeout 20 tail -n +1 -f "$M/events" >"$TEST_DIR/events" &
follower=$!
mkdir "$I/n"
wait_for "the event in /events" 10 grep -q '"name":"n"' "$TEST_DIR/events"
kill $follower
wait $follower || true

# ---- a mount that nobody answers is cleared by the next labfs
pid=$(labfs_pid)
kill -9 "$pid"
wait_for "labfs to be gone" 5 not alive "$pid"
check_fails 2 "not connected|connection abort" ls "$M"
labfs "$M"
check_eq "after the repair" defined "$(cat "$I/w/state")"

# ---- SIGTERM unmounts
pid=$(labfs_pid)
kill "$pid"
wait_for "labfs to end" 5 not alive "$pid"
check_eq "what is below" "" "$(ls "$M")"
check_fails 1 "not empty" labfs "$TEST_DIR"
check_fails 1 "No such file" labfs "$M/none"
check_fails 2 "one directory" labfs
