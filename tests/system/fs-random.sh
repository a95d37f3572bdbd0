#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-random.sh - random operations on files in images/: what is read back, and many at once
# TIMEOUT: 120
# REQUIRES: root fuse
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt N=$TEST_DIR/mnt/images
SEED=${FSX_SEED:-$((RANDOM * 32768 + RANDOM))}
OPERATIONS=${FSX_OPERATIONS:-2000}

no_spool()
{
	[ -z "$(ls "$LABD_STATE/spool")" ]
}

labd_start
mount_tree "$M"
cd "$TEST_DIR"
say "FSX_SEED=$SEED FSX_OPERATIONS=$OPERATIONS"

# ---- one file, each operation checked; then the same on the disk below, to know that the tool is right
fsxtool "$TEST_DIR/plain" "$OPERATIONS" "$SEED" >plain.txt
fsxtool "$N/.fsx" "$OPERATIONS" "$SEED" >tree.txt || fail "fsx with FSX_SEED=$SEED"
check_eq "what fsx did" "$(cat plain.txt)" "$(cat tree.txt)"
cmp "$TEST_DIR/plain" "$N/.fsx"

# ---- what came of it is a disk: raw, so anything is one
size=$(stat -c %s "$N/.fsx")
truncate -s $(((size + 511) / 512 * 512)) "$N/.fsx" "$TEST_DIR/plain"
mv "$N/.fsx" "$N/fsx.img"
ready() { [ "$(cat "$N/fsx/state")" = ready ]; }
wait_for "it to be an image" 20 ready
qemu-img compare -q -f raw -F qcow2 "$TEST_DIR/plain" "$N/fsx/disk.qcow2"

# ---- six processes on six names
stresstool "$N" 6 "$OPERATIONS" "$SEED" >stress.txt || fail "with FSX_SEED=$SEED: $(sort stress.txt | uniq -c)"
check_eq "what is left" fsx "$(ls -A "$N")"
wait_for "no spool file" 5 no_spool
check_match "/status" "labd up" "$(cat "$M/status")"
