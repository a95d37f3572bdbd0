#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl mount and umount: twice, dead, in use, not ours
# TIMEOUT: 90
# REQUIRES: root fuse curl jq
. "${SRCDIR:-.}/tests/lib.sh"
labd_start

dir=$TEST_DIR/tree
labfs_pid() { pgrep -f "labfs .*$dir\$"; }
check_match "mount" "mounted at $dir" "$(labctl mount "$dir")"
clear_mount() { umount -l "$dir" 2>/dev/null || true; }
on_exit clear_mount
[ -d "$dir/labs" ] || fail "no labs in $dir"
first=$(labfs_pid)
check_match "mount again" "already" "$(labctl mount "$dir")"
check_eq "labfs" "$first" "$(labfs_pid)"

# in use: refused, with the way out
exec 6<"$dir/labs"
check_fails 1 "in use.*--lazy" labctl umount "$dir"
exec 6<&-

# a labfs that was killed leaves a mount that cannot be entered; mount clears it
kill -9 "$first"
timeout 10 tail --pid="$first" -f /dev/null
! ls "$dir" 2>/dev/null || fail "a dead mount can be listed"
labctl mount "$dir" >/dev/null
[ -d "$dir/labs" ] || fail "no labs in $dir after a dead mount was cleared"
check_eq "mounts" 1 "$(grep -c " $dir " /proc/self/mounts)"

# umount clears a dead one too, and needs no labd
labd_stop
kill -9 "$(labfs_pid)"
labctl umount "$dir"
check_eq "mounts" 0 "$(grep -c " $dir " /proc/self/mounts || true)"
rmdir "$dir"
check_fails 1 "nothing is mounted" labctl umount "$dir"
check_fails 1 "No such file" labctl umount "$TEST_DIR/no/where"
