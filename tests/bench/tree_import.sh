#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# a disk imported by copying it into the tree, until it is an image that can be used, against
# copying it to where images are and converting it there. An image has been inspected and checked;
# what is made by hand has not. Neither is on the disk at that time; the image's SHA-256 is counted
# while it gets there
# TIMEOUT: 900
# IMAGES: debian-12
# REQUIRES: root fuse qemu-img
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
N=${BENCH_RUNS:-10} M=$TEST_DIR/mnt STORE=$TEST_DIR/s/by-hand

import()
{
	cp "$TEST_DIR/x.qcow2" "$M/images/x.qcow2"
	while [ "$(cat "$M/images/x/state")" != ready ]; do :; done
}

by_hand()
{
	cp "$TEST_DIR/x.qcow2" "$STORE/x.qcow2"
	qemu-img convert -f qcow2 -O qcow2 "$STORE/x.qcow2" "$STORE/disk.qcow2"
}

# What was made before goes, out of the trash too, and the disk has nothing left to write. Memory
# that a virtual machine has not touched for a while costs more than all of this: both begin with as
# much as they need of what was just given back
remove()
{
	if [ -e "$M/images/x" ]; then
		rmdir "$M/images/x"
		labctl trash empty -y >/dev/null
	fi
	rm -f "$STORE"/*
	sync -f "$STORE"
	head -c 1G /dev/zero >"$STORE/touched"
	rm "$STORE/touched"
}

need debian-12
mount_tree "$M"
mkdir "$STORE"
cp "$LABD_STATE"/images/*/disk.qcow2 "$TEST_DIR/x.qcow2"
import
qemu-img compare -q "$TEST_DIR/x.qcow2" "$M/images/x/disk.qcow2" || fail "not the same disk"
in_turns "$N" remove import by_hand
remove import
figure_ratio tree-import "${TOOK[import]}" cp-and-convert "${TOOK[by_hand]}" 1.15 ms "$N"
