#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-import.sh - images are copied in and out, in all the ways that people copy
# TIMEOUT: 120
# REQUIRES: root fuse
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt N=$TEST_DIR/mnt/images

umount_tree()
{
	fusermount3 -u -z "$M" 2>/dev/null || true
}

is()
{
	[ "$(cat "$2")" = "$1" ]
}

no_spool()
{
	[ -z "$(ls "$LABD_STATE/spool")" ]
}

# imported NAME: it is an image now that reads as what was copied
imported()
{
	wait_for "image $1" 20 is ready "$N/$1/state"
	qemu-img compare -q "$TEST_DIR/disk.qcow2" "$N/$1/disk.qcow2" ||
		fail "image $1 differs from what was copied"
	rmdir "$N/$1"
}

refused()
{
	local words=$1
	shift
	if "$@" 2>"$TEST_DIR/words"; then fail "$*: succeeded"; fi
	check_match "/error" "$words" "$(cat "$M/error")"
	check_eq "what is left in images/" "" "$(ls -A "$N")"
	wait_for "no spool file" 5 no_spool
}

mkdir "$M"
labd_start
mkdir -p "$LABD_STATE/images"
on_exit umount_tree
labfs "$M"
cd "$TEST_DIR"

truncate -s 64M disk.img
head -c 3M /dev/urandom | dd of=disk.img bs=1M seek=20 conv=notrunc status=none
qemu-img convert -O qcow2 disk.img disk.qcow2

for way in "cp" "cp -a" "cp --sparse=always" "cp --sparse=never"; do
	$way disk.qcow2 "$N/x.qcow2"
	imported x
done
cp disk.qcow2 "$N/x.qcow2"
sum=$(cat "$N/x/sha256")
check_eq "sha256 of one that is taken as it is" "$(sha256sum <disk.qcow2 | cut -d' ' -f1)" "$sum"
imported x
cp disk.img "$N/y.raw"
imported y
cat disk.qcow2 >"$N/x.qcow2"
imported x
dd if=disk.qcow2 of="$N/x.qcow2" bs=9999 status=none
imported x
cp disk.img copy.img && mv copy.img "$N/"
imported copy
if command -v rsync >/dev/null; then
	rsync -a --sparse disk.img "$N/"
	imported disk
fi

# ---- refused: the words are in /error, and nothing stays
echo nonsense >bad.qcow2
refused "bad.qcow2: .*does not begin like one" cp bad.qcow2 "$N/"
refused "NAME.qcow2, NAME.img or NAME.raw" cp disk.qcow2 "$N/x.txt"
refused "cannot be an image's name" cp disk.qcow2 "$N/a b.qcow2"
qemu-img create -q -f qcow2 -b /etc/shadow -F raw back.qcow2 1M
refused "backing file" cp back.qcow2 "$N/"
refused "" touch "$N/nothing/x.qcow2"
touch "$N/empty.qcow2"
check_eq "what an empty file leaves" "" "$(ls -A "$N")"

# ---- a copy that is killed is not imported
mkfifo slow
cp slow "$N/killed.img" &
copy=$!
exec {feed}>slow
head -c 1M /dev/zero >&$feed
wait_for "the copy to be under way" 10 test -s "$N/killed.img"
kill -INT $copy 2>/dev/null
kill -KILL $copy
wait $copy || true
exec {feed}>&-
wait_for "the copy to be dropped" 5 test ! -e "$N/killed.img"
check_match "/error" "killed.img: the copy of killed.img was killed" "$(cat "$M/error")"
check_eq "what a killed copy leaves" "" "$(ls -A "$N")"

# ---- out: byte for byte, with its holes
cp disk.img "$N/" && wait_for "the image" 20 is ready "$N/disk/state"
if cp disk.img "$N/" 2>/dev/null; then fail "copied over an image"; fi
cp "$N/disk/disk.qcow2" out.qcow2
path=$(api GET /v1/images/disk | jq -r .path)
cmp out.qcow2 "$path/disk.qcow2"
check_eq "blocks" "$(stat -c %b "$path/disk.qcow2")" "$(stat -c %b "$N/disk/disk.qcow2")"
if : 2>/dev/null >>"$N/disk/disk.qcow2"; then fail "opened a sealed disk for writing"; fi
mv "$N/disk" "$N/renamed"
cmp "$N/renamed/disk.qcow2" out.qcow2
rmdir "$N/renamed"
