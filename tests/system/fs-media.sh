#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-media.sh - ISO 9660, squashfs: the tree shows what was put in; damaged ones are an errno
# TIMEOUT: 240
# REQUIRES: root fuse genisoimage xorriso mksquashfs mformat sfdisk qemu-img perl
. "${SRCDIR:-.}/tests/lib.sh"
. "${SRCDIR:-.}/tests/lib/files.sh"

mkdir "$M" "$W" "$W/src"
labd_start
on_exit umount_tree
labfs "$M"

fill()
{
	mkdir -p a/b/c/d/e/f/g/h/i/j many
	echo file >a/file
	ln a/file a/b/hard
	ln -s ../file a/b/link
	ln -s /a/file a/b/absolute
	ln -s "$(printf 'x%.0s' {1..200})" long
	mkfifo a/fifo
	mknod a/null c 1 3
	head -c 3000001 /dev/urandom >random
	: >a/empty
	echo deep >a/b/c/d/e/f/g/h/i/j/deep
	touch "$(printf 'n%.0s' {1..240})" 'Größe ☃'
	(cd many && seq -f 'file-%.0f' 3000 | xargs touch)
	chmod 4755 a/file
	chown -R 1000:70000 a
	chmod 700 a/b
	find . -exec touch -h -d '2021-02-03 04:05:06' {} +
}

# half FILE: cut it
half()
{
	local blocks=$(($(stat -c %s "$1") / 4096))
	truncate -s $((blocks * 2048)) "$1"
}

# What is the same on a medium: not sizes of directories, numbers of links, other times
names()
{
	(cd "$1" && find . ! -type d -printf '%P\t%y\t%m\t%U\t%G\t%s\t%T@\n' \
		-o -mindepth 1 -printf '%P\t%y\t%m\t%U\t%G\t%T@\n') | LC_ALL=C sort
}

# The absolute link is shown as a relative one, of another length
same()
{
	local but='^a/b/absolute'
	cmp <(names "$W/src" | grep -av "$but") <(names "$2" | grep -av "$but") ||
		fail "$1: names: $(diff -a <(names "$W/src" | grep -av "$but") \
			<(names "$2" | grep -av "$but") | head -n 4)"
	cmp <(sums "$W/src") <(sums "$2") || fail "$1: contents differ"
	check_eq "$1: links" "../file ../../a/file" \
		"$(readlink "$2/a/b/link" "$2/a/b/absolute" | xargs)"
}

(cd "$W/src" && fill)
xorriso -outdev "$W/iso.img" -hardlinks on -volid cidata -map "$W/src" / >"$W/xorriso.log" 2>&1
import iso "$W/iso.img"
P=$M/images/iso/files/p0
check_match table "^p0 0 [0-9]+ - iso9660 clean cidata$" "$(cat "$M/images/iso/files/table")"
same "Rock Ridge" "$P"
check_eq "hard links" "$(stat -c %i "$P/a/file")" "$(stat -c %i "$P/a/b/hard")"
check_eq "by the disk's directory" file "$(cat "$M/images/iso/files/a/b/absolute")"
check_eq "the end of a file" "$(tail -c 5000 "$W/src/random" | sha256sum)" \
	"$(tail -c 5000 "$P/random" | sha256sum)"
check_eq "a name that is not there" "No such file or directory" \
	"$(LC_ALL=C stat "$P/many/file-3001" 2>&1 | sed 's/.*: //' || true)"
if text=$(touch "$P/new" 2>&1); then fail "it can be written"; fi
check_match "writing" "Read-only file system" "$text"
ino=$(stat -c %i "$P/many/file-77")
pkill -KILL -P "$(pgrep -f "labfs $M")" labinspect
check_eq "another reader says the same" "$ino" "$(stat -c %i "$P/many/file-77")"
check_eq "and reads" deep "$(cat "$P/a/b/c/d/e/f/g/h/i/j/deep")"

# ---- in a partition; as qcow2, packed; without Rock Ridge, with and without Joliet
genisoimage -quiet -D -R -o "$W/geniso.img" "$W/src"
import geniso "$W/geniso.img"
same "Rock Ridge of genisoimage" "$M/images/geniso/files/p0"
truncate -s 40M "$W/part.img"
printf 'label: dos\nstart=2048,size=40960\n' | sfdisk -q "$W/part.img"
dd if="$W/geniso.img" of="$W/part.img" bs=1M seek=1 conv=notrunc status=none
import part "$W/part.img"
same "in a partition" "$M/images/part/files/p1"
qemu-img convert -c -O qcow2 "$W/geniso.img" "$W/packed.qcow2"
cp "$W/packed.qcow2" "$M/images/packed.qcow2"
wait_for "the image" 30 is ready "$M/images/packed/state"
same "packed" "$M/images/packed/files/p0"
mkdir "$W/plain"
echo hello >"$W/plain/Größe"
echo upper >"$W/plain/upper.txt"
genisoimage -quiet -input-charset utf-8 -J -o "$W/joliet.img" "$W/plain"
genisoimage -quiet -o "$W/plain.img" "$W/plain" 2>/dev/null
import joliet "$W/joliet.img"
check_eq "Joliet" hello "$(cat "$M/images/joliet/files/p0/Größe")"
check_eq "its mode" "-r--r--r-- dr-xr-xr-x" \
	"$(stat -c %A "$M/images/joliet/files/p0/Größe" "$M/images/joliet/files/p0" | xargs)"
import plain "$W/plain.img"
check_eq "neither" upper "$(cat "$M/images/plain/files/p0/UPPER.TXT")"

# ---- damaged: a directory that holds its parent; one that is cut; at random
perl -e '
	open my $f, "+<", shift; local $/; my $d = <$f>;
	my $root = unpack "V", substr $d, 32768 + 158, 4;
	# the entry of "a" in the root leads to the root
	my $at = index $d, pack("CA", 1, "A"), $root * 2048;
	substr $d, $at - 30, 8, pack "VN", $root, $root;
	seek $f, 0, 0; print $f $d' "$W/geniso.img"
import loop "$W/geniso.img"
refused ls "$M/images/loop/files/p0/a/"
check_eq "its neighbours" 3000 "$(find "$M/images/loop/files/p0/many" -type f | wc -l)"
cp "$W/iso.img" "$W/cut.img"
half "$W/cut.img"
import cut "$W/cut.img"
timeout 20 find "$M/images/cut/files/p0/" -type f -exec cat {} + >/dev/null 2>"$W/words" || true
check_match "a cut one" "Structure needs cleaning|Input/output error" "$(cat "$W/words")"

# ---- squashfs: as the kernel has it, however it is packed
head -c 300000 /dev/zero >"$W/src/zeroes"
truncate -s 300M "$W/src/sparse"
head -c 3M /dev/urandom >"$W/src/large"
printf end | dd of="$W/src/sparse" bs=1 seek=200000000 conv=notrunc status=none
: >"$W/src/$(printf 'new\nline')"
LOOP=$(losetup -f 2>/dev/null) || say "no comparison with the kernel: no loop devices"
mkdir "$W/k"
while read -r name options; do
	# shellcheck disable=SC2086 # several
	mksquashfs "$W/src" "$W/$name.img" -quiet -no-progress -noappend $options >"$W/mksquashfs.log"
	truncate -s %4096 "$W/$name.img"
	import "$name" "$W/$name.img"
	P=$M/images/$name/files/p0
	check_match table "^p0 0 [0-9]+ - squashfs clean -$" "$(cat "$M/images/$name/files/table")"
	check_eq "$name: links" "../file ../../a/file" \
		"$(readlink "$P/a/b/link" "$P/a/b/absolute" | xargs)"
	cat "$P/large" | cmp - "$W/src/large" || fail "$name: a large file is cut"
	cmp <(sums "$W/src") <(sums "$P") || fail "$name: contents differ"
	[ -n "$LOOP" ] || continue
	mount -t squashfs -o loop,ro "$W/$name.img" "$W/k"
	same_files "$name" "$W/k" "$P"
	umount "$W/k"
done <<'KINDS'
gzip -comp gzip -b 4096
xz -comp xz -no-exports
zstd -comp zstd -no-fragments
lz4 -comp lz4 -b 1048576
none -noI -noD -noF -noX -always-use-fragments
KINDS
check_eq "a hole" end "$(dd if="$P/sparse" bs=1 skip=200000000 count=3 status=none)"
cp --sparse=auto "$P/sparse" "$W/out"
[ "$(du -k "$W/out" | cut -f 1)" -lt 5000 ] || fail "the holes were not kept: $(du -k "$W/out")"
cp "$W/gzip.img" "$W/cut.img"
half "$W/cut.img"
import cutsquash "$W/cut.img"
refused ls "$M/images/cutsquash/files/p0/"
check_match table "squashfs damaged" "$(cat "$M/images/cutsquash/files/table")"
mksquashfs "$W/plain" "$W/lzo.img" -quiet -no-progress -comp lzo >"$W/mksquashfs.log"
truncate -s %4096 "$W/lzo.img"
import lzo "$W/lzo.img"
unsupported()
{
	local text
	if text=$(ls "$M/images/$1/files/p0/" 2>&1); then fail "$1 was listed"; fi
	check_match "$1" "Operation not supported" "$text"
	check_match "$1: why" "$2" "$(cat "$M/images/$1/error")"
	check_match "$1: table" " unsupported " "$(cat "$M/images/$1/files/table")"
}
unsupported lzo "filesystem 0: its version or compression cannot be read"

# ---- what nobody here reads, with words
truncate -s 20M "$W/vfat.img"
mformat -i "$W/vfat.img" ::
import vfat "$W/vfat.img"
unsupported vfat "filesystem 0: it is vfat, which cannot be read"
truncate -s 20M "$W/swap.img"
mkswap -q "$W/swap.img" 2>/dev/null
import swap "$W/swap.img"
unsupported swap "filesystem 0: it is swap, which cannot be read"

# ---- damage at random: it ends soon, whatever it says, and the tree goes on
for round in 1 2 3 4 5 6 7 8 9; do
	kinds=(iso joliet gzip)
	cp "$W/${kinds[round % 3]}.img" "$W/random.img"
	perl -e 'srand(shift); open my $f, "+<", shift; my $size = -s $f; for (1 .. 300) {
		my $at = rand() < 0.5 ? 32768 + int(rand(4096)) : rand() < 0.5 ? $size - int(rand(60000)) :
			int(rand($size - 1000)) + 500;
		seek $f, $at, 0; print $f chr(rand(256)) }' "$round" "$W/random.img"
	truncate -s %4096 "$W/random.img"
	import "random$round" "$W/random.img"
	status=0
	timeout 40 find "$M/images/random$round/files/p0/" -type f -exec head -qc 100000 {} + \
		>/dev/null 2>&1 || status=$?
	[ $status != 124 ] || fail "round $round: hangs"
	cmp "$M/images/random$round/files/raw" "$W/random.img"
done
