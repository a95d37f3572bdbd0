#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-upload.sh - copies into images/: at the same time, of one name, gone on with, inside of the tree, and out
# TIMEOUT: 120
# REQUIRES: root fuse rsync strace
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt N=$TEST_DIR/mnt/images

is()
{
	[ "$(cat "$2")" = "$1" ]
}

# imported NAME FILE: it is an image, reads as what was copied, and goes again
imported()
{
	wait_for "image $1" 20 is ready "$N/$1/state"
	qemu-img compare -q "$2" "$N/$1/disk.qcow2" || fail "image $1 differs from $2"
	rmdir "$N/$1"
}

no_spool()
{
	[ -z "$(ls "$LABD_STATE/spool")" ]
}

labd_start
mount_tree "$M"
cd "$TEST_DIR"
for i in 1 2 3 4 5 6; do
	truncate -s 48M "disk$i.img"
	head -c 3M /dev/urandom | dd "of=disk$i.img" bs=1M seek=$((i * 5)) conv=notrunc status=none
	qemu-img convert -O qcow2 "disk$i.img" "disk$i.qcow2"
done

# ---- six at the same time, in different ways
pids=()
cp disk1.qcow2 "$N/a1.qcow2" & pids+=($!)
cp --sparse=always disk2.img "$N/a2.img" & pids+=($!)
cat disk3.qcow2 >"$N/a3.qcow2" & pids+=($!)
dd if=disk4.img "of=$N/a4.raw" bs=64k conv=sparse status=none & pids+=($!)
rsync --inplace disk5.qcow2 "$N/a5.qcow2" & pids+=($!)
rsync -a disk6.img "$N/a6.img" & pids+=($!)
for pid in "${pids[@]}"; do
	wait "$pid" || fail "one of six copies at the same time failed: $(cat "$M/error")"
done
for i in 1 2 3 4 5 6; do
	imported "a$i" "disk$i.img"
done

# ---- those who set mode and times of the name after they have closed it
install -m 600 disk1.qcow2 "$N/i.qcow2"
check_eq "what is listed" i "$(ls "$N")"
[ -e "$N/i.qcow2" ] || fail "the name that was copied to cannot be looked up"
check_fails 1 "File exists" cp disk1.qcow2 "$N/i.qcow2"
check_match "/error" "images/i.qcow2: i.qcow2 is an image now" "$(cat "$M/error")"
imported i disk1.img
[ ! -e "$N/i.qcow2" ] || fail "the name that was copied to is there without its image"
rsync -a --inplace disk2.img "$N/r.img"
imported r disk2.img

# ---- one name has one writer, and who reads sees it grow
mkfifo slow
cp slow "$N/one.img" &
copy=$!
exec {feed}>slow
head -c 1M disk1.img >&$feed
arrived() { [ "$(stat -c %s "$N/one.img")" = 1048576 ]; }
wait_for "its first MiB" 10 arrived
check_eq "a second writer" EBUSY "$(callname openw "$N/one.img")"
check_match "/error" "images/one.img: one.img is being copied in already" "$(cat "$M/error")"
check_fails 1 "Device or resource busy" cp disk2.img "$N/one.img"
check_fails 1 "cannot overwrite" bash -c "set -C; cat disk2.img >'$N/one.img'"
check_eq "a reader" 0 "$(callname openr "$N/one.img")"
check_eq "size, after those" 1048576 "$(stat -c %s "$N/one.img")"
tail -c +1048577 disk1.img >&$feed
exec {feed}>&-
wait $copy
imported one disk1.img

# ---- a copy under a name with a dot is gone on with, whatever ended it
cp slow "$N/.two.img" &
copy=$!
exec {feed}>slow
head -c 5M disk2.img >&$feed
arrived() { [ "$(stat -c %s "$N/.two.img")" = 5242880 ]; }
wait_for "its first 5 MiB" 10 arrived
kill -KILL $copy
wait $copy || true
exec {feed}>&-
check_eq "what a killed copy has left" 5242880 "$(stat -c %s "$N/.two.img")"
dd if=disk2.img "of=$N/.two.img" bs=1M skip=5 seek=5 count=10 conv=notrunc status=none
tail -c +$((15 * 1048576 + 1)) disk2.img >>"$N/.two.img"
check_eq "no image yet" "" "$(ls "$N")"
mv "$N/.two.img" "$N/two.img"
imported two disk2.img
cp disk3.img "$N/.three"
: >"$N/.three"
check_eq "size after it was truncated" 0 "$(stat -c %s "$N/.three")"
rm "$N/.three"

# ---- inside of the tree the data does not go through the program that copies. cp that looks
# for zeros has to see it; with --sparse=never it writes those of the holes alone
cp disk4.qcow2 "$N/a.qcow2"
wait_for "image a" 20 is ready "$N/a/state"
strace -o trace -e trace=copy_file_range cp --sparse=never "$N/a/disk.qcow2" "$N/b.qcow2"
kept=$(awk '/^copy_file_range/ { n += $NF } END { print n }' trace)
[ "$kept" -ge $((3 << 20)) ] || fail "only $kept bytes were copied in the kernel: $(cat trace)"
wait_for "image b" 20 is ready "$N/b/state"
cmp "$N/a/disk.qcow2" "$N/b/disk.qcow2"
rmdir "$N/b"
cp "$N/a/disk.qcow2" "$N/b.qcow2"
imported b disk4.img
cp "$N/a/files/raw" "$N/c.img"
imported c disk4.img

# ---- out: byte for byte, with as many blocks
cp "$N/a/disk.qcow2" out.qcow2
cmp out.qcow2 "$N/a/disk.qcow2"
check_eq sha256 "$(cat "$N/a/sha256")" "$(sha256sum <out.qcow2 | cut -d' ' -f1)"
cp "$N/a/files/raw" out.img
cmp out.img disk4.img
[ "$(stat -c %b out.img)" -le $((4 * 2048)) ] || fail "a disk of 3 MiB takes $(stat -c %b out.img) blocks"
rmdir "$N/a"
wait_for "no spool file" 5 no_spool
