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
	rm -f "$OUT"
}

# What was copied before goes away at nobody's cost
remove()
{
	rm -f "$OUT"
}

# figures NAME: of what is in TOOK
figures()
{
	figure_ratio "tree-copy-$1" "${TOOK[copy_tree]}" qemu-export "${TOOK[copy_export]}" 1.2 ms "$N"
	figure_ratio "tree-copy-convert-$1" "${TOOK[copy_tree]}" qemu-img-convert "${TOOK[convert]}" 1.2 ms "$N"
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
in_turns "$N" forget copy_tree copy_export convert stream_tree stream_export
figures cold
in_turns "$N" remove copy_tree copy_export convert stream_tree stream_export
figures warm
