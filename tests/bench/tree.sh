#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Files of a guest: list, find and grep, against the kernel's loop mount and fuse2fs
# TIMEOUT: 1200
# SERIAL
# IMAGES: debian-12
# REQUIRES: root tun fuse fuse2fs jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
. "$SRCDIR/tests/lib/mounts.sh"

mounts_begin
# A chain: a guest that was started, and four snapshots of its disk
labctl start t/w >/dev/null
labctl kill t/w >/dev/null || true
wait_state t/w stopped
for i in 1 2 3 4; do mkdir "$M/labs/t/snapshots/s$i"; done

P=$M/images/debian-12/files/p0
S=$M/labs/t/snapshots/s4/instances/w/files/p0
figure tree-ls-image "$(cold tree "$N" ls "$P")" 50 ms "$N"
chain=$(cold tree "$N" ls "$S")
figure tree-ls-chain "$chain" 50 ms "$N"
# Who mounts a raw disk reads it in no process that is locked up first
say "mounted and listed, raw: $(first kernel "$N" "$K") ms by the kernel, $(first fuse2fs "$PEER_N" "$F") ms by fuse2fs"
if command -v guestmount >/dev/null; then
	# its guest runs as ours do
	[ "$(api GET /v1/status | jq -r .accel)" = kvm ] || export LIBGUESTFS_BACKEND_SETTINGS=force_tcg
	export LIBGUESTFS_BACKEND=direct
	guestmount_on() { guestmount --ro -a "$RAW" -m /dev/sda "$F" >/dev/null; }
	guestmount_off() { ! mountpoint -q "$F" || guestunmount "$F"; }
	figure_faster tree-ls-guestmount "$chain" guestmount "$(first guestmount 1 "$F")" 50 ms 1
	guestmount_off
fi

say "$(find "$P" | wc -l) names"
kernel_off
ours=$(cold tree "$N" find "$P")
figure_ratio tree-find-cold "$ours" loop-mount "$(cold kernel "$N" find "$K")" 3 ms "$N"
figure_faster tree-find-cold-fuse2fs "$ours" fuse2fs "$(cold fuse2fs "$PEER_N" find "$F")" 4 ms "$N"
# What remains then is one question to labfs for each directory, which opendir() asks
find_tree() { find "$P"; }
find_kernel() { find "$K"; }
in_turns $((N + 1)) : find_tree find_kernel
figure_ratio tree-find-warm "${TOOK[find_tree]}" loop-mount "${TOOK[find_kernel]}" 1.5 ms $((N + 1))
ours=$(cold tree "$N" grep -r nothing-has-this "$P")
figure_ratio tree-grep "$ours" loop-mount \
	"$(cold kernel "$N" grep -r nothing-has-this "$K")" 2.5 ms "$N"
figure_faster tree-grep-fuse2fs "$ours" fuse2fs \
	"$(cold fuse2fs "$PEER_N" grep -r nothing-has-this "$F")" 3 ms "$N"
figure tree-rss "$(awk '/VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$(pgrep -f "labfs $M")/status")" \
	10 MiB 1
mounts_end
