#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-stuck.sh - labd hangs, labfs is frozen, killed, aborted: every call returns, nothing is left
# TIMEOUT: 150
# REQUIRES: root fuse mke2fs jq
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt I=$TEST_DIR/mnt/labs/t/instances
T=${TEST_TIMES:-1}

is()
{
	[ "$(cat "$2")" = "$1" ]
}

labfs_pid()
{
	awk '$1 == "pid" { print $2 }' "$M/status"
}

# later NAME CALL...: in the background; NAME.got gets what came of it, and after how many ms
later()
{
	local name=$1 start=${EPOCHREALTIME/./}
	shift
	{
		got=$(callname "$@" 2>/dev/null)
		echo "$got $(((${EPOCHREALTIME/./} - start) / 1000))" >"$name.got"
	} &
	CALLS+=("$name")
	PIDS+=($!)
}
CALLS=()
PIDS=()

# came EXPECTED MS: all that was begun has returned so, in time
came()
{
	local name got ms longest=0
	wait "${PIDS[@]}"
	for name in "${CALLS[@]}"; do
		read -r got ms <"$name.got"
		[[ $got =~ ^($1)$ ]] || fail "$name: expected $1, got $got after $ms ms"
		[ "$ms" -le $(($2 * T)) ] || fail "$name: $got after $ms ms"
		[ "$ms" -le "$longest" ] || longest=$ms
	done
	say "${#CALLS[@]} calls: $1, the last after $longest ms"
	CALLS=()
	PIDS=()
}

# Processes of this test that cannot be killed
in_d()
{
	local p
	while read -r p; do
		[ "$(sed 's/.*) //; s/ .*//' "/proc/$p/stat" 2>/dev/null)" != D ] || cat "/proc/$p/comm"
	done <"$TEST_CGROUP/cgroup.procs"
}

none_in_d()
{
	[ -z "$TEST_CGROUP" ] || [ -z "$(in_d)" ]
}

# family: labfs and the processes it has started
family()
{
	labfs_pid
	pgrep -P "$(labfs_pid)"
}

all_gone()
{
	local p
	for p; do
		! alive "$p" || return 1
	done
}

labd_start
mount_tree "$M"
cd "$TEST_DIR"
mkdir root
echo hello >root/hello
mke2fs -q -t ext4 -d root img.raw 16M
for name in one two; do
	cp img.raw "$M/images/$name.img"
	wait_for "image $name" 20 is ready "$M/images/$name/state"
done
mkdir "$M/labs/t" "$I/w" "$I/v"
check_eq "a guest's file" hello "$(cat "$M/images/one/files/hello")"

# ---- labd stopped: what reads answers at once, what asks fails after 5 s, however many ask
kill -STOP "$LABD_PID"
on_exit kill -CONT "$LABD_PID"
for i in 1 2 3 4 5 6 7 8 9 10; do
	later "write$i" write "$I/w/vcpus" "$((i % 2 + 1))"
	later "mkdir$i" mkdir "$I/new$i"
done
later rmdir rmdir "$I/v"
later rename rename "$I/v" "$I/u"
later ctl write "$M/labs/t/ctl" down
later protect write "$M/images/one/protect" 1
later upload write "$M/images/three.img" "$(printf '%04096d' 0)"
later snapshot mkdir "$M/labs/t/snapshots/s"
later opened openr "$M/inspect/images/two/table"
for i in 1 2 3 4 5; do
	start=${EPOCHREALTIME/./}
	read -r words <"$M/status"
	ms=$(((${EPOCHREALTIME/./} - start) / 1000))
	[ $ms -le $((100 * T)) ] || fail "/status took $ms ms"
	start=${EPOCHREALTIME/./}
	check_eq "a value" defined "$(<"$I/w/state")"
	check_eq "a guest's file that is open to labfs" hello "$(<"$M/images/one/files/hello")"
	find "$M/images" >/dev/null
	ms=$(((${EPOCHREALTIME/./} - start) / 1000))
	[ $ms -le $((500 * T)) ] || fail "reading took $ms ms"
done
check_match "/status" "^labd" "$words"
# those that change one directory go one after the other in the kernel: a little longer
came ETIMEDOUT 7000
check_match "/status" "labd stuck" "$(cat "$M/status")"
check_eq "what is left of the copy" "one two" "$(find "$M/images/" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ' | sed 's/ $//')"
kill -CONT "$LABD_PID"
# it may do what it had accepted before: busy for a moment
answers() { [ "$(callname write "$I/w/vcpus" 3)" = 0 ]; }
wait_for "labd to answer" 5 answers
wait_for "labd to be up again" 10 grep -q '^labd up' "$M/status"

# ---- aborted by the kernel's switch while calls wait: they end at once
control=/sys/fs/fuse/connections
mountpoint -q $control || mount -t fusectl none $control
on_exit umount $control
number=$(($(stat -c %d "$M") & 0xff))
mapfile -t family < <(family)
kill -STOP "$LABD_PID"
for i in 1 2 3; do
	later "write$i" write "$I/w/vcpus" "$((i % 2 + 1))"
	later "mkdir$i" mkdir "$I/newer$i"
done
waiting() { [ "$(cat "$control/$number/waiting")" -ge 2 ]; }
wait_for "calls to wait" 4 waiting
echo 1 >$control/$number/abort
came "ECONNABORTED|ENOTCONN" 4000
kill -CONT "$LABD_PID"
wait_for "labfs and its children to end" 10 all_gone "${family[@]}"
none_in_d || fail "in D: $(in_d)"
labctl mount "$M"
check_eq "after the abort" defined "$(cat "$I/w/state")"

# ---- frozen, with calls that wait and a copy under way, then killed
mkfifo slow
cp slow "$M/images/four.img" 2>copy.err &
copy=$!
exec {feed}>slow
head -c 1M /dev/zero >&$feed
arrived() { [ -s "$M/images/four.img" ]; }
wait_for "the copy to be under way" 10 arrived
check_eq "a guest's file" hello "$(cat "$M/images/two/files/hello")"
number=$(($(stat -c %d "$M") & 0xff))
mapfile -t family < <(family)
[ ${#family[@]} -gt 1 ] || fail "labfs has no child that reads a disk"
kill -STOP "${family[0]}"
for i in 1 2 3; do
	later "read$i" read "$I/v/vcpus"
	later "mkdir$i" mkdir "$I/newest$i"
done
waiting() { [ "$(cat "$control/$number/waiting")" -ge 1 ]; }
wait_for "calls to wait" 4 waiting
kill -KILL "${family[0]}"
came "ECONNABORTED|ENOTCONN" 4000
exec {feed}>&-
if wait $copy; then fail "a copy to a labfs that was killed succeeded"; fi
wait_for "labfs and its children to end" 10 all_gone "${family[@]}"
none_in_d || fail "in D: $(in_d)"
check_fails 1 "not connected|connection abort" cat "$M/status"
labctl mount "$M"
check_eq "after the repair" defined "$(cat "$I/w/state")"
check_eq "what is left of the copy" "" "$(ls "$LABD_STATE/spool")"
check_eq "images" "one two" "$(find "$M/images/" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' ' | sed 's/ $//')"
rm -r "$M/labs/t"
