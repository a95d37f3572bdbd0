#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# a disk as its guest sees it, copied out with its holes and streamed, against qemu-img convert
# and QEMU's own FUSE export of the same qcow2 file
# TIMEOUT: 1200
# IMAGES: debian-12
# REQUIRES: root fuse qemu-img qemu-storage-daemon
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
. "$SRCDIR/tests/lib/qsd.sh"
N=${BENCH_RUNS:-10} M=$TEST_DIR/mnt OUT=$TEST_DIR/out.img
RAW=$M/images/debian-12/files/raw

copy_tree()
{
	cp --sparse=always "$RAW" "$OUT"
}

copy_export()
{
	cp --sparse=always "$QSD" "$OUT"
}

convert()
{
	qemu-img convert -f qcow2 -O raw "$DISK" "$OUT"
}

stream_tree()
{
	cat "$RAW" >/dev/null
}

stream_export()
{
	cat "$QSD" >/dev/null
}

# The processes are new, and nothing of the disk is in any cache
forget()
{
	umount -l "$M"
	labfs "$M"
	qsd_off
	qsd_on "$DISK"
	dd if="$DISK" iflag=nocache count=0 status=none
	remove
}

# What was copied before goes away at nobody's cost, and nothing waits to be written
remove()
{
	rm -f "$OUT"
	sync -f "$TEST_DIR"
}

# measure NAME BEFORE
measure()
{
	in_turns "$N" "$2" copy_tree copy_export convert
	figure_ratio "tree-copy-$1" "${TOOK[copy_tree]}" qemu-export "${TOOK[copy_export]}" 1.2 ms "$N"
	say "$1: qemu-img convert takes ${TOOK[convert]} ms, the tree ${TOOK[copy_tree]}"
	in_turns "$N" "$2" stream_tree stream_export
	figure_faster "tree-stream-$1" "${TOOK[stream_tree]}" qemu-export "${TOOK[stream_export]}" 1 ms "$N"
}

need debian-12
mount_tree "$M"
DISK=$(readlink -f "$LABD_STATE"/images/*/disk.qcow2)
on_exit qsd_off
qsd_on "$DISK"
for copy in copy_tree copy_export; do
	"$copy"
	qemu-img compare -q -f raw -F qcow2 "$OUT" "$DISK" || fail "$copy: not the same disk"
	say "$copy: $(du -m "$OUT" | cut -f 1) of $(($(stat -c %s "$OUT") >> 20)) MiB are stored"
done
measure cold forget
measure warm remove
