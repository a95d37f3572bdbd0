# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# mounts.sh - files of a guest by the tree, the kernel and fuse2fs, cold and warm; needs lib.sh and
# bench.sh

# shellcheck disable=SC2034 # N and PEER_N are for who sources this
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

# mounts_begin: an image debian-12, as an instance t/w that does not run and in the file $RAW
mounts_begin()
{
	local I=$M/labs/t/instances/w
	mkdir "$M" "$K" "$F" "$K2"
	need debian-12
	on_exit tree_off
	on_exit kernel_off
	on_exit fuse2fs_off
	tree_on
	qemu-img convert -f qcow2 -O raw "$M/images/debian-12/disk.qcow2" "$RAW"
	mkdir "$M/labs/t" "$I"
	echo debian-12 >"$I/image"
	echo '{"ready": []}' >"$I/spec"
}

mounts_end()
{
	tree_off
	labctl rm t >/dev/null
}
