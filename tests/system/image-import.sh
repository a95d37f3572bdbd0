#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# image-import.sh - foreign disks made by the real qemu-img: taken, refused, and given out again
# TIMEOUT: 120
# REQUIRES: root qemu-img imagetool
. "${SRCDIR:-.}/tests/lib.sh"

cd "$TEST_DIR"
mkdir i
dd if=/dev/urandom of=disk.raw bs=1M count=8 status=none
printf 'easy%.0s' {1..100000} >>disk.raw # that can be compressed
truncate -s 64M disk.raw
mkdisk()
{
	qemu-img create -q -f qcow2 "$@"
}

import()
{
	imagetool import "$1" "$2" "$TEST_DIR/i/$3" 2>progress.txt
}

refused()
{
	local words=$1 file=$2
	check_fails 1 "$words" imagetool import "$file" "${3:-qcow2}" "$TEST_DIR/i/bad"
	check_eq "what is left of $file" "" "$(ls i)"
}

say "refused"
mkdisk backing.qcow2 -F raw -b /etc/shadow 1M
refused "backing file" backing.qcow2
mkdisk -o data_file=data.raw data.qcow2 1M
refused "external file" data.qcow2
mkdisk luks.qcow2 1M
printf '\0\0\0\2' | dd of=luks.qcow2 bs=1 seek=32 conv=notrunc status=none
refused "encrypted" luks.qcow2
mkdisk snap.qcow2 1M
qemu-img snapshot -c one snap.qcow2
refused "1 internal snapshots" snap.qcow2
mkdisk cut.qcow2 64M
truncate -s 70000 cut.qcow2
refused "truncated" cut.qcow2
refused "begins like qcow2" cut.qcow2 raw
mkdisk huge.qcow2 1M
printf '\100\0\0\0\0\0\0\0' | dd of=huge.qcow2 bs=1 seek=24 conv=notrunc status=none
refused "ERANGE.*at most 2 TiB" huge.qcow2
for format in vmdk vdi vhdx vpc qed; do
	qemu-img create -q -f $format "d.$format" 4M
	refused "begins like" "d.$format" raw
done
qemu-img create -q -f vpc -o subformat=fixed,force_size=on fixed.vhd 4M
refused "ends like a VHD" fixed.vhd raw
refused "does not begin like one" disk.raw
refused "not a format" disk.raw vmdk
refused "No such file" nothing raw
mkfifo fifo
exec 5<>fifo
refused "regular file" fifo raw
exec 5>&-

say "taken"
import disk.raw raw raw
grep -q '^convert 100/100' progress.txt || fail "no progress: $(cat progress.txt)"
qemu-img compare -q disk.raw i/raw/disk.qcow2
check_eq "boot" firmware "$(jq -r .boot i/raw/manifest.json)"
check_eq "size" $((64 << 20)) "$(jq .size i/raw/manifest.json)"
check_eq "files" "disk.qcow2 manifest.json" "$(cd i/raw && echo *)"
check_eq "mode" 444 "$(stat -c %a i/raw/disk.qcow2)"
for options in compat=0.10 cluster_size=512 extended_l2=on compression_type=zstd lazy_refcounts=on; do
	qemu-img convert -f raw -O qcow2 -o $options disk.raw "$options.qcow2"
	import "$options.qcow2" qcow2 "$options"
	qemu-img compare -q disk.raw "i/$options/disk.qcow2"
done
check_fails 1 "EEXIST.*exists already" imagetool import disk.raw raw "$TEST_DIR/i/raw"

say "taken as it is"
# handed_over FILE: it is given away; prints how many of its bytes are the image's, all or none
handed_over()
{
	cp "$1" spool
	imagetool import "$TEST_DIR/spool" qcow2 "$TEST_DIR/i/$1" take 2>/dev/null
	qemu-img compare -q disk.raw "i/$1/disk.qcow2"
	check_eq "digest of $1" "$(openssl dgst -sha256 -r "i/$1/disk.qcow2" | cut -d' ' -f1)" \
		"$(jq -r .disk.sha256 "i/$1/manifest.json")"
	if cmp -s "$1" "i/$1/disk.qcow2"; then echo all; else echo none; fi
}
qemu-img convert -f raw -O qcow2 disk.raw plain
check_eq "what is as good as it can be" all "$(handed_over plain)"
[ ! -e spool ] || fail "there are two of it"
check_eq "mode" 444 "$(stat -c %a i/plain/disk.qcow2)"
qemu-img convert -c -f raw -O qcow2 disk.raw compressed
check_eq "compressed" none "$(handed_over compressed)"
cp plain longer
head -c 64K /dev/zero >>longer
check_eq "longer than it need be" none "$(handed_over longer)"
cp longer leaky # it counts a reference to a cluster that nobody refers to
at() { od -An -t u8 --endian=big -j "$1" -N 8 plain; } # a number in its tables
lost=$(($(stat -c %s plain) / 65536)) block=$(at "$(at 48)")
printf '\0\1' | dd of=leaky bs=1 seek=$((block + lost * 2)) conv=notrunc status=none
check_eq "with a cluster that is lost" none "$(handed_over leaky)"
for options in compat=0.10 cluster_size=512; do
	check_eq "$options" none "$(handed_over $options.qcow2)"
done

say "what a name could mean to a program that guesses"
cp disk.raw 'json:{"driver":"nbd"}'
import 'json:{"driver":"nbd"}' raw odd
qemu-img compare -q disk.raw i/odd/disk.qcow2

say "given out"
for format in raw qcow2; do
	imagetool export i/raw "$TEST_DIR/out.$format" $format 2>/dev/null
	qemu-img compare -q -f raw -F $format disk.raw "out.$format"
	[ $format = raw ] || cmp out.qcow2 i/raw/disk.qcow2
	check_fails 1 "EEXIST" imagetool export i/raw "$TEST_DIR/out.$format" $format
done
check_fails 1 "not a format" imagetool export i/raw "$TEST_DIR/out.x" vmdk
check_fails 1 "No such file" imagetool export i/raw "$TEST_DIR/none/out" raw
check_fails 1 "No such file" imagetool export i/nothing "$TEST_DIR/out.y" raw

say "disk full"
mkdir small
mount -t tmpfs -o size=4M none small
on_exit umount "$TEST_DIR/small"
check_fails 1 "No space left on device" imagetool import disk.raw raw "$TEST_DIR/small/x"
check_eq "what is left" "" "$(ls small)"
check_fails 1 "No space left on device" imagetool export i/raw "$TEST_DIR/small/x" raw
check_eq "what is left" "" "$(ls small)"

say "killed while it converts"
truncate -s 20G sparse.raw # long enough, even if nothing is written
dd if=/dev/urandom of=sparse.raw bs=1M count=200 seek=10000 conv=notrunc status=none
imagetool import sparse.raw raw "$TEST_DIR/i/killed" 2>/dev/null &
tool=$!
wait_for "the conversion" 20 test -e i/killed.tmp/disk.qcow2
kill -9 $tool
wait_for "the converter to be gone" 10 not pgrep -f "$TEST_DIR/i/killed"
LABD_STATE=$TEST_DIR
mkdir images
mv i/killed.tmp images/
check_eq "swept" 1 "$(LABD_STATE=$TEST_DIR imagetool sweep)"
check_eq "what is left" "" "$(ls images)"
