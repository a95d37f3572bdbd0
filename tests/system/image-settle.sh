#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# image-settle.sh - an image that can be used before its digest is known: who wants that waits for
# it, also from a labd that was killed meanwhile; what the host may have lost is not taken for whole
# TIMEOUT: 120
# REQUIRES: root fuse qemu-img
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt N=$TEST_DIR/mnt/images
cd "$TEST_DIR"

sum_of()
{
	openssl dgst -sha256 -r "$1" | cut -d' ' -f1
}

# On a busy machine it takes longer than a call may wait
read_sum()
{
	sum_read=$(cat "$N/x/sha256")
}

digest()
{
	api GET /v1/images/x | jq -r .sha256
}

# taken: x is an image that can be used, but nobody has counted its digest
taken()
{
	cp big.qcow2 "$N/x.qcow2"
	wait_for "the image" 20 is_state ready
	check_eq "the digest of what has just come" "" "$(digest)"
}

is_state()
{
	[ "$(api GET /v1/images/x | jq -r .state)" = "$1" ]
}

labd_start
mount_tree "$M"
# all allocated, and nearly nothing to write: some seconds to count, none to copy
qemu-img create -q -f qcow2 -o preallocation=falloc big.qcow2 2G
sum=$(sum_of big.qcow2)

say "who opens sha256 waits, and its size is known before"
taken
check_eq "size of sha256" 65 "$(stat -c %s "$N/x/sha256")"
check_eq "disk of the manifest" "boot_id size" "$(jq -r '.disk | keys | join(" ")' "$N/x/manifest")"
wait_for "the digest" 60 read_sum
check_eq "sha256" "$sum" "$sum_read"
check_eq "sha256 in the manifest" "$sum" "$(jq -r .disk.sha256 "$N/x/manifest")"
check_eq "bytes" "$sum" "$(sum_of "$N/x/disk.qcow2")"
rmdir "$N/x"

say "labd is killed before it is counted"
taken
labd_kill
labd_start
check_eq "sha256" "$sum" "$(digest)"
check_eq "state" ready "$(cat "$N/x/state")"
rmdir "$N/x"

say "the host went down before it was counted"
taken
labd_kill
manifest=$(echo "$LABD_STATE"/images/*/manifest.json)
jq 'del(.disk.sha256) | .disk.boot_id = "another"' "$manifest" >changed
cp changed "$manifest"
labd_start
check_eq "what is left" "[]" "$(api GET /v1/images | jq -c .)"
check_match "what labd says" "image x was not on the disk when labd ended: .*went down" \
	"$(cat labd.log)"
