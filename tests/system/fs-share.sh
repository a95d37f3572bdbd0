#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-share.sh - a disk that is copied within the tree shares its blocks, where the store's filesystem
# can: nothing is read or written, also not by the import
# TIMEOUT: 120
# SERIAL
# REQUIRES: root fuse qemu-img mkfs.xfs filefrag
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt N=$TEST_DIR/mnt/images
cd "$TEST_DIR"
losetup -f >/dev/null 2>&1 || skip "no loop devices"
grep -qw xfs /proc/filesystems || modprobe -q xfs || skip "no xfs in this kernel"
truncate -s 1G store.img
mkfs.xfs -q -m reflink=1 store.img
mkdir -p "$LABD_STATE"
mount -o loop store.img "$LABD_STATE"
on_exit umount -l "$LABD_STATE"
labd_start
mount_tree "$M"

is()
{
	[ "$(cat "$N/$1/state")" = ready ]
}

# Bytes that are in use in the store, and that labfs has read
used()
{
	sync -f "$LABD_STATE"
	df --output=used -B1 "$LABD_STATE" | tail -n 1
}

labfs_read()
{
	awk '/^rchar/ { print $2 }' "/proc/$(pgrep -f "labfs $M")/io"
}

head -c 100M /dev/urandom >disk.raw
qemu-img convert -f raw -O qcow2 disk.raw disk.qcow2
cp disk.qcow2 "$N/a.qcow2"
wait_for "a" 20 is a
sum=$(cat "$N/a/sha256")
before=$(used) read=$(labfs_read)
cp "$N/a/disk.qcow2" "$N/b.qcow2"
wait_for "b" 20 is b
check_eq "sha256" "$sum" "$(cat "$N/b/sha256")"
more=$(($(used) - before)) moved=$(($(labfs_read) - read))
say "a copy of $(stat -c %s disk.qcow2) bytes: $more bytes more in the store, $moved read by labfs"
[ $more -lt $((4 << 20)) ] || fail "$more bytes more are in use"
[ $moved -lt $((4 << 20)) ] || fail "$moved bytes went through labfs"
path=$(api GET /v1/images/b | jq -r .path)
check_match "extents" "shared" "$(filefrag -v "$path/disk.qcow2")"
