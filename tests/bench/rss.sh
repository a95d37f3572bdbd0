#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# memory of labd and labfs with 20 running instances, and what they do when
# nothing happens: how often any of their threads woke in 10 s
# TIMEOUT: 900
# IMAGES: tiny
# REQUIRES: root tun fuse dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
twenty
mkdir "$TEST_DIR/m"
labctl mount "$TEST_DIR/m"
on_exit labctl umount "$TEST_DIR/m"
# a look at everything, as a user does
find "$TEST_DIR/m/labs" -type f -name state -exec cat {} + >/dev/null
labctl status >/dev/null

labfs=
for p in $(pgrep -x labfs); do
	! grep -qzx "TEST_ID=${TEST_ID:?}" "/proc/$p/environ" || labfs=$p
done
[ -n "$labfs" ] || fail "no labfs runs"
rss() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }
# "TID COUNT" of every thread
wakes()
{
	local t
	for t in "/proc/$1/task/"*; do
		awk -v t="${t##*/}" '/^voluntary_ctxt/ { print t, $2 }' "$t/status" 2>/dev/null || true
	done
}

# woken BEFORE AFTER: how often; the end of a thread counts as once
woken()
{
	awk 'NR == FNR { before[$1] = $2; next }
		{ n += $2 - before[$1]; delete before[$1] }
		END { for (t in before) n++; print n + 0 }' <(echo "$1") <(echo "$2")
}

# what the commands above left running comes to its end: idle workers, connections
pause "${BENCH_SETTLE:-30}"
labd_0=$(wakes "$LABD_PID") labfs_0=$(wakes "$labfs")
pause 10
labd_1=$(wakes "$LABD_PID") labfs_1=$(wakes "$labfs")
figure labd-rss "$(rss "$LABD_PID")" 20 MiB 1
figure labfs-rss "$(rss "$labfs")" 10 MiB 1
figure labd-wakeups "$(woken "$labd_0" "$labd_1")" 0 per-10s 1
figure labfs-wakeups "$(woken "$labfs_0" "$labfs_1")" 0 per-10s 1
labctl down twenty
