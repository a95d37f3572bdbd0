#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-files.sh - the files of guests: the same as the kernel sees them, and read-only
# TIMEOUT: 240
# REQUIRES: root fuse tun mke2fs debugfs sfdisk qemu-io
. "${SRCDIR:-.}/tests/lib.sh"
. "${SRCDIR:-.}/tests/lib/files.sh"

# try WORDS COMMAND...: it fails, and says that
try()
{
	local want=$1 text
	shift
	if text=$(timeout 20 "$@" 2>&1 </dev/null); then fail "$*: succeeded, expected '$want'"; fi
	[[ $text == *"$want"* ]] || fail "$*: expected '$want', got: $text"
}

# same WHAT FILE DIR: a filesystem as the kernel mounts it, and as the tree shows it
same()
{
	[ -n "$LOOP" ] || return 0
	mount -t ext4 -o loop,ro,noload "$2" "$W/k"
	same_files "$1" "$W/k" "$3"
	umount "$W/k"
}

mkdir "$M" "$W" "$W/k" "$W/src" "$W/fill"
labd_start
on_exit umount_tree
labfs "$M"
LOOP=$(losetup -f 2>/dev/null) || say "no comparison with the kernel: no loop devices"

# ---- a filesystem with everything that one can have
fill()
{
	mkdir -p etc/deep/er bin "$(printf 'new\nline')" dir
	echo guest >etc/hostname
	ln -s /etc/hostname absolute
	ln -s ../../../../../../../../../../etc/hostname etc/deep/er/up
	ln -s deep/../../../../etc/hostname etc/around
	ln -s ../hostname etc/deep/relative
	ln -s / etc/root
	ln -s "$(printf 'x%.0s' {1..200})" etc/long
	ln etc/hostname bin/hard
	touch "$(printf 'n%.0s' {1..255})" "$(printf 'bad\xff\xfename')" ' blank ' '*' $'dir/\x01'
	echo tiny >dir/inline
	mkfifo dir/fifo
	mknod dir/null c 1 3
	mknod dir/disk b 8 17
	chmod 4755 bin/hard
	chown 1000:70000 dir
	touch -d '2100-01-01 01:02:03.456789' dir/late
	touch -d '1950-01-01' dir/early
	printf begin >sparse
	truncate -s 1T sparse
	truncate -s 3G big
	printf end | dd of=big bs=1 seek=3000000000 conv=notrunc status=none
	head -c 3000000 /dev/urandom >random
	mkdir many
	(cd many && seq -f 'file-%.0f' "$1" | xargs touch)
}

# Filled by the kernel: mke2fs -d takes minutes for a large directory
truncate -s 300M "$W/all.img"
mke2fs -q -F -t ext4 -b 4096 -O inline_data -N 70000 -L guest "$W/all.img"
MANY=65000
if [ -n "$LOOP" ]; then
	mount -o loop "$W/all.img" "$W/fill"
	(cd "$W/fill" && fill $MANY)
	cp -a "$W/fill/random" "$W/fill/etc" "$W/src/"
	umount "$W/fill"
else
	MANY=500
	(cd "$W/src" && fill $MANY)
	mke2fs -q -F -t ext4 -b 4096 -O inline_data -L guest -d "$W/src" "$W/all.img" 2>/dev/null
fi
import all "$W/all.img"
P=$M/images/all/files/p0
check_eq table "p0 0 314572800 - ext4 clean guest" "$(cat "$M/images/all/files/table")"
check_eq "names of the disk" "p0 raw table" "$(cd "$M/images/all/files" && echo *)"
same "ext4, inline data" "$W/all.img" "$P"
check_eq "entries of a large directory" "$MANY" "$(find "$P/many" -type f | wc -l)"
check_eq "one of them" "$P/many/file-$MANY" "$(ls "$P/many/file-$MANY")"
check_eq "the end of a file above 2 GiB" end \
	"$(dd if="$P/big" bs=1 skip=3000000000 count=3 status=none)"
check_eq "the start of 1 TiB" begin "$(head -c 5 "$P/sparse")"
check_eq "its size" $((1 << 40)) "$(stat -c %s "$P/sparse")"
cp --sparse=auto "$P/big" "$W/big"
[ "$(du -k "$W/big" | cut -f 1)" -lt 1000 ] || fail "the holes were not kept: $(du -k "$W/big")"
cmp "$M/images/all/files/raw" "$W/all.img"
cp "$M/images/all/files/raw" "$W/raw.img"
cmp "$W/raw.img" "$W/all.img"
[ "$(du -k "$W/raw.img" | cut -f 1)" -lt 200000 ] || fail "raw was copied without its holes"

# ---- links stay in the guest, whatever they say
check_eq "an absolute link" etc/hostname "$(readlink "$P/absolute")"
check_eq "one that goes up too far" ../../../etc/hostname "$(readlink "$P/etc/deep/er/up")"
check_eq "one that goes around" ../etc/hostname "$(readlink "$P/etc/around")"
check_eq "a good one" ../hostname "$(readlink "$P/etc/deep/relative")"
check_eq "the root" .. "$(readlink "$P/etc/root")"
for link in absolute etc/deep/er/up etc/around etc/deep/relative; do
	check_eq "what $link leads to" guest "$(cat "$P/$link")"
	check_eq "the same by the disk's directory" guest "$(cat "$M/images/all/files/$link")"
done

# ---- nothing can be changed, no device can be opened
F=$M/images/all/files
try "Read-only file system" touch "$P/new"
try "Read-only file system" rm "$P/etc/hostname"
try "Read-only file system" rmdir "$P/etc/deep/er"
try "Read-only file system" mv "$P/etc/hostname" "$P/x"
try "Read-only file system" ln -s x "$P/y"
try "Read-only file system" chmod 600 "$P/etc/hostname"
try "Read-only file system" bash -c "echo x >'$P/etc/hostname'"
try "Read-only file system" bash -c "echo x >'$F/raw'"
try "Read-only file system" mkdir "$F/p9"
try "Permission denied" cat "$P/dir/null"
try "Permission denied" cat "$P/dir/disk"
try "No such file or directory" cat "$P/none"
try "No such file or directory" cat "$F/p1"
try "Not a directory" cat "$P/etc/hostname/x"
try "File name too long" cat "$P/$(printf 'n%.0s' {1..256})"

# ---- the tools that people use
tar -C "$P" --exclude=./sparse --exclude=./big --exclude=./many -cf "$W/t.tar" . 2>/dev/null
mkdir "$W/out"
tar -C "$W/out" -xf "$W/t.tar" 2>/dev/null
cmp <(sums "$W/out" | grep -v '/big$') <(sums "$P" | grep -v '/big$') || fail "tar: contents"
cp -a "$P/etc" "$W/etc"
check_eq "diff -r of a copy" "" "$(diff -r --no-dereference "$P/etc" "$W/etc")"
check_eq "grep -r" "$P/dir/inline:tiny" "$(grep -rs tiny "$P/dir")"

# ---- partitions
truncate -s 200M "$W/gpt.img" "$W/mbr.img"
truncate -s 40M "$W/fs.img"
mke2fs -q -F -t ext2 -b 1024 -d "$W/src/etc" "$W/fs.img" 2>/dev/null
printf 'label: gpt\nsize=40M\nsize=40M\nsize=8M\n' | sfdisk -q "$W/gpt.img"
dd if="$W/fs.img" of="$W/gpt.img" bs=1M seek=1 conv=notrunc status=none
printf 'XFSB' | dd of="$W/gpt.img" bs=1M seek=41 conv=notrunc status=none
printf 'label: dos\n%s\n%s\n%s\n%s\n' '/x1: start=2048,size=81920' '/x2: start=204800,type=5' \
	'/x5: start=206848,size=81920' '/x6: start=290816,size=40960' | sfdisk -q "$W/mbr.img"
logical=$(sfdisk -J "$W/mbr.img" | jq '.partitiontable.partitions[2].start')
dd if="$W/fs.img" of="$W/mbr.img" bs=512 seek="$logical" conv=notrunc status=none
import gpt "$W/gpt.img"
import mbr "$W/mbr.img"
check_match "table of a GPT" \
	"^p1 1048576 41943040 0fc63daf-8483-4772-8e79-3d69d8477de4 ext2 clean -" \
	"$(cat "$M/images/gpt/files/table")"
check_eq "partitions of a GPT" "p1 p2 p3 raw table" "$(cd "$M/images/gpt/files" && echo *)"
check_match "table of an MBR" "p5 $((logical * 512)) 41943040 0x83 ext2 clean -" \
	"$(cat "$M/images/mbr/files/table")"
same "ext2 in a GPT" "$W/fs.img" "$M/images/gpt/files/p1"
same "ext2 in a logical partition" "$W/fs.img" "$M/images/mbr/files/p5"
try "Operation not supported" ls "$M/images/gpt/files/p3/"
check_match "why" "partition 3: no filesystem is known in it" "$(cat "$M/error")"
check_match "why, at the image" "partition 3" "$(cat "$M/images/gpt/error")"

# ---- an instance: only while it is stopped; what it writes shows
I=$M/labs/t/instances/w
mkdir "$M/labs/t" "$I"
echo all >"$I/image"
echo 64M >"$I/memory"
echo '{"ready": []}' >"$I/spec"
echo running >"$I/state"
wait_for "the guest to run" 20 is running "$I/state"
try "Device or resource busy" ls "$I/files/"
check_match "why" "instance w runs.*snapshot" "$(cat "$I/error")"
try "Device or resource busy" cat "$I/files/p0/etc/hostname"
echo kill >"$I/ctl"
wait_for "the guest to end" 20 is stopped "$I/state"
check_eq "a file of a stopped guest" guest "$(cat "$I/files/p0/etc/hostname")"
mkdir "$M/labs/t/snapshots/before"
S=$M/labs/t/snapshots/before/instances/w/files
block=$(debugfs -R 'blocks random' "$W/all.img" 2>/dev/null | awk '{ print $1 }')
head=$(inst t/w 'disks[0].path')
exec {open}<"$I/files/p0/random"
qemu-io -f qcow2 -c "write -q -P 65 $((block * 4096)) 64k" "$head" >/dev/null
echo running >"$I/state"
wait_for "the guest to run" 20 is running "$I/state"
check_match "reading on" "Device or resource busy" "$(head -c 1 <&"$open" 2>&1 || true)"
exec {open}<&-
echo kill >"$I/ctl"
wait_for "the guest to end" 20 is stopped "$I/state"
check_eq "what was written since" AAAA "$(head -c 4 "$I/files/p0/random")"
check_eq "the rest of it" "$(tail -c +65537 "$W/src/random" | sha256sum)" \
	"$(tail -c +65537 "$I/files/p0/random" | sha256sum)"
cmp "$S/p0/random" "$W/src/random" || fail "the snapshot changed"
check_eq "what did not change between two states" "" \
	"$(diff -r --no-dereference "$S/etc" "$I/files/etc")"
check_fails 1 "Files $S/random and $I/files/random differ" diff -q "$S/random" "$I/files/random"
check_eq "where the snapshot's files are" \
	../../../../../../inspect/labs/t/snapshots/before/instances/w/root "$(readlink "$S")"

# ---- labd need not be there once a disk is known; one that is gone is gone
exec {open}<"$S/p0/random"
rmdir "$M/labs/t/snapshots/before"
wait_for "the snapshot to go" 20 not ls "$S"
check_match "reading on" "No such device" "$(cat <&"$open" 2>&1 || true)"
exec {open}<&-
labd_kill
check_eq "without labd" guest "$(cat "$P/etc/hostname")"
labd_start
cat "$M/images/gpt/files/table" >"$W/table"
readers=$(pgrep -P "$(pgrep -f "labfs $M")" labinspect)
for pid in $readers; do
	# the sanitizers need calls that the filter does not allow
	[ -n "${ASAN_RUN:-}" ] ||
		check_match "the filter of $pid" "Seccomp:[[:space:]]2" "$(cat "/proc/$pid/status")"
	check_match "its privileges" "NoNewPrivs:[[:space:]]1" "$(cat "/proc/$pid/status")"
	check_eq "its user" nobody "$(ps -o user= -p "$pid")"
done
[ -n "$readers" ] || fail "nobody reads disks"

# ---- a reader that dies, or says nothing, harms who waits for it and nobody else
# shellcheck disable=SC2086 # several
kill -9 $readers
block()
{
	dd if="$M/images/gpt/files/raw" bs=4096 skip="$1" count=1 status=none | wc -c
}
check_eq "after its reader died" 4096 "$(block 1000)"
pkill -STOP -P "$(pgrep -f "labfs $M")" labinspect
start=$SECONDS
block 20000 >"$W/words" 2>&1 &
check_eq "the tree meanwhile" stopped "$(timeout 1 cat "$I/state")"
wait $! || true # the kernel may have asked again, and then another reader
[ $((SECONDS - start)) -le 8 ] || fail "$((SECONDS - start)) s for a stopped reader"
check_match "why" "did not answer" "$(cat "$M/error")"
check_eq "and again" 4096 "$(block 40000)"
labctl rm t
