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
wakes() { cat "/proc/$1/task/"*/status | awk '/^voluntary_ctxt/ { n += $2 } END { print n }'; }

pause 3 # connections of the commands above have ended
labd_0=$(wakes "$LABD_PID") labfs_0=$(wakes "$labfs")
pause 10
labd_1=$(wakes "$LABD_PID") labfs_1=$(wakes "$labfs")
figure labd-rss "$(rss "$LABD_PID")" 20 MiB 1
figure labfs-rss "$(rss "$labfs")" 10 MiB 1
figure labd-wakeups $((labd_1 - labd_0)) 0 per-10s 1
figure labfs-wakeups $((labfs_1 - labfs_0)) 0 per-10s 1
labctl down twenty
