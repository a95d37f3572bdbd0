#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Files of a guest: list, find, grep and diff, against the kernel's loop mount and fuse2fs
# TIMEOUT: 1200
# SERIAL
# IMAGES: debian-12
# REQUIRES: root tun fuse fuse2fs jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"

N=${BENCH_RUNS:-10} PEER_N=3
M=$TEST_DIR/mnt K=$TEST_DIR/k F=$TEST_DIR/f K2=$TEST_DIR/k2
RAW=$TEST_DIR/disk.img RAW2=$TEST_DIR/disk2.img

losetup -f >/dev/null 2>&1 || skip "no loop devices: there is nothing to compare with"

tree_off()
{
	fusermount3 -u -z "$M" 2>/dev/null || true
}

tree_on()
{
	labfs "$M"
}

kernel_on()
{
	mount -t ext4 -o loop,ro "$RAW" "$K"
}

kernel_off()
{
	umount "$K" 2>/dev/null || true
	umount "$K2" 2>/dev/null || true
}

# Two of them, for diff
kernels_on()
{
	kernel_on
	mount -t ext4 -o loop,ro "$RAW2" "$K2"
}

kernels_off()
{
	kernel_off
}

fuse2fs_on()
{
	fuse2fs -o ro "$RAW" "$F" >/dev/null 2>&1
}

fuse2fs_off()
{
	fusermount3 -u "$F" 2>/dev/null || fusermount -u "$F" 2>/dev/null || true
}

# Nothing of the disks is in a cache; what programs consist of may be
forget()
{
	local file
	for file in "$RAW" "$RAW2" "$(readlink -f "$LABD_STATE")"/images/*/disk.qcow2 \
		"$LABD_STATE"/snapshots/*/*/*.qcow2; do
		[ ! -e "$file" ] || dd if="$file" iflag=nocache count=0 status=none
	done
}

# us COMMAND...: how long it takes
us()
{
	local start=${EPOCHREALTIME/./}
	"$@" >/dev/null 2>&1 || true
	echo $((${EPOCHREALTIME/./} - start))
}

# cold WHO N COMMAND...: median of ms; freshly mounted, and nothing of the disk in any cache
cold()
{
	local who=$1 n=$2 i times=()
	shift 2
	for ((i = 0; i < n; i++)); do
		"${who}_off"
		"${who}_on"
		forget
		times+=("$(us "$@")")
	done
	median "${times[@]}" | awk '{ printf "%.2f\n", $1 / 1000 }'
}

# warm N COMMAND...: median of ms, the same was just done
warm()
{
	local n=$1 i times=()
	shift
	"$@" >/dev/null 2>&1 || true
	for ((i = 0; i < n; i++)); do times+=("$(us "$@")"); done
	median "${times[@]}" | awk '{ printf "%.2f\n", $1 / 1000 }'
}

# What is measured besides: the mount itself, of those that need one for each disk
mount_and_ls()
{
	"${1}_on"
	ls "$2"
}

# first WHO N DIR: as cold, with the mount
first()
{
	local i times=()
	for ((i = 0; i < $2; i++)); do
		"${1}_off"
		forget
		times+=("$(us mount_and_ls "$1" "$3")")
	done
	median "${times[@]}" | awk '{ printf "%.2f\n", $1 / 1000 }'
}

mkdir "$M" "$K" "$F" "$K2"
need debian-12
on_exit tree_off
on_exit kernel_off
on_exit fuse2fs_off
tree_on
qemu-img convert -f qcow2 -O raw "$M/images/debian-12/disk.qcow2" "$RAW"

# A chain: a guest that was started, and four snapshots of its disk
I=$M/labs/t/instances/w
mkdir "$M/labs/t" "$I"
echo debian-12 >"$I/image"
echo '{"ready": []}' >"$I/spec"
labctl start t/w >/dev/null
labctl kill t/w >/dev/null || true
wait_state t/w stopped
for i in 1 2 3 4; do mkdir "$M/labs/t/snapshots/s$i"; done

P=$M/images/debian-12/files/p0
S=$M/labs/t/snapshots/s4/instances/w/files/p0
figure tree-ls-image "$(cold tree "$N" ls "$P")" 50 ms "$N"
chain=$(cold tree "$N" ls "$S")
figure tree-ls-chain "$chain" 50 ms "$N"
figure_ratio tree-ls-mount "$chain" loop-mount "$(first kernel "$N" "$K")" 1 ms "$N"
figure_faster tree-ls-fuse2fs "$chain" fuse2fs "$(first fuse2fs "$PEER_N" "$F")" 1 ms "$N"
if command -v guestmount >/dev/null; then
	guestmount_on() { guestmount --ro -a "$RAW" -m /dev/sda "$F"; }
	guestmount_off() { guestunmount "$F" 2>/dev/null || true; }
	figure_faster tree-ls-guestmount "$chain" guestmount "$(first guestmount 1 "$F")" 50 ms 1
	guestmount_off
fi

say "$(find "$P" | wc -l) names"
kernel_off
ours=$(cold tree "$N" find "$P")
figure_ratio tree-find-cold "$ours" loop-mount "$(cold kernel "$N" find "$K")" 3 ms "$N"
figure_faster tree-find-cold-fuse2fs "$ours" fuse2fs "$(cold fuse2fs "$PEER_N" find "$F")" 4 ms "$N"
figure_ratio tree-find-warm "$(warm "$N" find "$P")" loop-mount "$(warm "$N" find "$K")" 1.5 ms "$N"
ours=$(cold tree "$N" grep -r nothing-has-this "$P")
figure_ratio tree-grep "$ours" loop-mount \
	"$(cold kernel "$N" grep -r nothing-has-this "$K")" 2.5 ms "$N"
figure_faster tree-grep-fuse2fs "$ours" fuse2fs \
	"$(cold fuse2fs "$PEER_N" grep -r nothing-has-this "$F")" 3 ms "$N"
figure tree-rss "$(awk '/VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$(pgrep -f "labfs $M")/status")" \
	10 MiB 1

# Two snapshots of the guest, with an installer's work between them
SNAPSHOTS=$M/labs/t/snapshots
labctl start t/w >/dev/null
wait_for "the guest's agent" 300 guest t/w true
labctl stop t/w >/dev/null
mkdir "$SNAPSHOTS/clean"
labctl start t/w >/dev/null
wait_for "the guest's agent" 300 guest t/w true
guest t/w sh -c 'cp -a /usr/lib/python3* /usr/share/perl* /usr/share/doc /opt/ 2>/dev/null
	find /usr/share/doc -name copyright | head -200 | xargs sed -i s/the/THE/; chmod 700 /srv; sync'
labctl stop t/w >/dev/null
mkdir "$SNAPSHOTS/installed"
chain_raw()
{
	qemu-img convert -U -f qcow2 -O raw "$(api GET \
		"/v1/labs/t/snapshots/$1/instances/w/disks/root/chain" | jq -r '.files[0].path')" "$2"
}
kernel_off
chain_raw clean "$RAW"
chain_raw installed "$RAW2"
say "$(labctl diff t/clean installed 2>/dev/null | wc -l) names differ"
peer=$(cold kernels "$PEER_N" diff -rq --no-dereference "$K" "$K2")
nothing_on() { :; }
nothing_off() { kernel_off; }
ours=$(cold nothing "$N" labctl diff t/clean installed)
figure_ratio tree-labctl-diff "$ours" loop-mounts "$peer" 0.3 ms "$N"
figure_ratio tree-diff "$(cold tree "$PEER_N" diff -rq --no-dereference \
	"$M/inspect/labs/t/snapshots/clean/instances/w/root/p0" \
	"$M/inspect/labs/t/snapshots/installed/instances/w/root/p0")" loop-mounts "$peer" 3 ms "$PEER_N"
tree_off
labctl rm t >/dev/null
