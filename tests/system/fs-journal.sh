#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-journal.sh - a journal that was not written back: files are as the kernel has them after it
# TIMEOUT: 300
# REQUIRES: root fuse tun mke2fs debugfs e2fsck losetup perl
. "${SRCDIR:-.}/tests/lib.sh"
. "${SRCDIR:-.}/tests/lib/files.sh"
need tiny

losetup -f >/dev/null 2>&1 || skip "no loop devices"
mkdir "$M" "$W" "$W/k" "$W/src"
on_exit umount_tree
labfs "$M"

# What is journalled is read from the journal, also contents: some begin as a block of it does
work()
{
	mkdir -p a/b gone many
	(cd many && seq -f 'file-%.0f' 2000 | xargs touch)
	(cd gone && seq -f 'file-%.0f' 500 | xargs touch)
	head -c 3000000 /dev/urandom >a/random
	printf '\xc0\x3b\x39\x98magic' >a/magic
	{ head -c 8192 a/random; printf '\xc0\x3b\x39\x98again'; } >a/late
	sync -f .
	rm -r gone
	chmod 750 a
	ln a/random a/b/hard
	ln -s ../random a/b/link
	head -c 2000000 /dev/urandom >reused
	rm many/file-1*
	truncate -s 100M a/sparse
	mv a/late a/b/moved
	sync -f .
}

# dirty NAME MOUNT-OPTIONS MKE2FS-OPTION...: a filesystem as a crash leaves it
dirty()
{
	local name=$1 options=$2
	shift 2
	truncate -s 200M "$W/$name.img"
	mke2fs -q -F -E lazy_itable_init=0,lazy_journal_init=0 "$@" "$W/$name.img"
	mount -t ext4 -o "loop,noatime,commit=300,$options" "$W/$name.img" "$W/k"
	(cd "$W/k" && work)
	cp --sparse=always "$W/$name.img" "$W/$name.crash"
	umount "$W/k"
	mv "$W/$name.crash" "$W/$name.img"
}

# same NAME IMAGE DIR: the kernel replays the journal of a copy
same()
{
	cp --sparse=always "$2" "$W/copy.img"
	mount -t ext4 -o loop,noatime "$W/copy.img" "$W/k"
	same_files "$1" "$W/k" "$3"
	umount "$W/k"
	rm "$W/copy.img"
}

state()
{
	awk '{ print $6 }' "$M/$1/table"
}

# ---- every kind of checksum that a journal can have, and contents in it
while read -r name options rest; do
	# shellcheck disable=SC2086 # several
	dirty "$name" "$options" $rest
	debugfs -R 'show_super_stats -h' "$W/$name.img" 2>/dev/null | grep -q needs_recovery ||
		fail "$name: its journal is clean"
	import "$name" "$W/$name.img"
	check_eq "$name: state" replayed "$(state "images/$name/files")"
	same "$name" "$W/$name.img" "$M/images/$name/files/p0"
	cmp "$M/images/$name/files/raw" "$W/$name.img" || fail "$name: raw is not the disk"
done <<'KINDS'
plain data=ordered -t ext4 -b 4096
none data=ordered -t ext4 -b 4096 -O ^metadata_csum,^64bit
data data=journal -t ext4 -b 1024
one journal_checksum,data=journal -t ext4 -O ^metadata_csum
async journal_async_commit,data=writeback -t ext4 -O ^metadata_csum
ext3 data=journal -t ext3 -b 2048
KINDS

# ---- written by debugfs: revoked blocks, and version 2 of checksums
# jbd NAME VERSION: block 3000 is newer in the journal, 3001 is, too, but revoked
jbd()
{
	local name=$1 version=$2
	truncate -s 32M "$W/$name.img"
	mke2fs -q -F -t ext4 -b 1024 -O "$3" "$W/$name.img" 16000
	head -c 20000 /dev/zero | tr '\0' o >"$W/old"
	head -c 3072 /dev/zero | tr '\0' n >"$W/new"
	debugfs -w "$W/$name.img" >>"$W/debugfs.log" 2>&1 <<-COMMANDS
		write $W/old f
		sync
	COMMANDS
	first=$(debugfs -R 'blocks f' "$W/$name.img" 2>/dev/null | awk '{ print $1 }')
	debugfs -w "$W/$name.img" >>"$W/debugfs.log" 2>&1 <<-COMMANDS
		journal_open $version
		journal_write -b $first,$((first + 1)),$((first + 2)) $W/new
		journal_write -r $((first + 1))
		journal_close
	COMMANDS
}
content()
{
	perl -ne 'print join " ", map { substr($_, 0, 1) . length } /((.)\2*)/g' "$1" 2>/dev/null |
		awk '{ print $1, $3, $5, $7 }'
}
jbd v2 "-c -v 2" metadata_csum
jbd v2narrow "-c -v 2" metadata_csum,^64bit
jbd v3 "-c -v 3" metadata_csum
jbd wide "" ^metadata_csum,64bit
for name in v2 v2narrow v3 wide; do
	import "$name" "$W/$name.img"
	check_eq "$name: state" replayed "$(state "images/$name/files")"
	check_eq "$name: new, revoked, new" "n1024 o1024 n1024 o16928" \
		"$(content "$M/images/$name/files/p0/f")"
	cp "$W/$name.img" "$W/copy.img"
	e2fsck -fy "$W/copy.img" >/dev/null 2>&1 || true
	debugfs -R "dump f $W/f" "$W/copy.img" 2>/dev/null
	cmp "$W/f" "$M/images/$name/files/p0/f" || fail "$name: e2fsck has it otherwise"
done

# ---- fast commits are not read: the files are those of the last full one, and it is said
truncate -s 200M "$W/fast.img"
mke2fs -q -F -t ext4 -O fast_commit -E lazy_itable_init=0,lazy_journal_init=0 "$W/fast.img"
mount -t ext4 -o loop,noatime,commit=300 "$W/fast.img" "$W/k"
echo old >"$W/k/f"
sync -f "$W/k"
cp --sparse=always "$W/fast.img" "$W/full.img"
echo new >"$W/k/f"
sync "$W/k/f"
cp --sparse=always "$W/fast.img" "$W/crash.img"
umount "$W/k"
import full "$W/full.img"
check_eq "state" replayed "$(state images/full/files)"
same "without a fast commit" "$W/full.img" "$M/images/full/files/p0"
debugfs -R 'logdump -S' "$W/crash.img" 2>/dev/null >"$W/log"
if grep -q "tag HEAD" "$W/log"; then
	import fast "$W/crash.img"
	check_eq "state" dirty "$(state images/fast/files)"
	check_eq "a file" old "$(cat "$M/images/fast/files/f")"
else
	say "this kernel makes no fast commits"
fi

# ---- damaged: files are as they are without it. Damage at random: it ends, the tree goes on
block=$(debugfs -R 'blocks <8>' "$W/v3.img" 2>/dev/null | awk '{ print $3 }')
printf x | dd of="$W/v3.img" bs=1 seek=$((block * 1024 + 100)) conv=notrunc status=none
import damaged "$W/v3.img"
check_eq "state" damaged "$(state images/damaged/files)"
check_eq "a file" "o20000" "$(content "$M/images/damaged/files/p0/f" | xargs)"
start=$(debugfs -R 'blocks <8>' "$W/none.img" 2>/dev/null | awk '{ print $1 }')
for round in 1 2 3 4; do
	cp --sparse=always "$W/none.img" "$W/random.img"
	perl -e 'srand(shift); open my $f, "+<", shift; my $start = shift; for (1 .. 300) {
		seek $f, $start * 4096 + int(rand(2e6)), 0; print $f chr(rand(256)) }' \
		"$round" "$W/random.img" "$start"
	import "random$round" "$W/random.img"
	status=0
	timeout 20 find "$M/images/random$round/files/p0/" -type f -exec head -qc 100 {} + \
		>/dev/null 2>&1 || status=$?
	[ $status != 124 ] || fail "round $round: hangs"
	check_match "round $round" "^(replayed|damaged)$" "$(state "images/random$round/files")"
done

# ---- a snapshot of a guest that runs
cat >"$TEST_DIR/lab.yaml" <<YAML
lab: lab
instances:
  a: { image: tiny, memory: 128M }
YAML
labctl up "$TEST_DIR/lab.yaml"
guest a sh -c "cd /root && mkdir -p new/deep && echo early >new/early && sync &&
	dd if=/dev/urandom of=new/data bs=1M count=3 2>/dev/null && ln new/data new/deep/hard &&
	rm new/early && echo late >new/deep/late && sync && sha256sum new/data" >"$W/sum"
labctl snapshot create lab now
S=labs/lab/snapshots/now/instances/a/files
check_eq "state" replayed "$(state "$S")"
check_eq "its file" "$(cut -d ' ' -f 1 "$W/sum" | tail -n 1)" \
	"$(sha256sum <"$M/$S/p0/root/new/data" | cut -d ' ' -f 1)"
check_eq "what it did last" "data deep late" \
	"$(cd "$M/$S/p0/root/new" && echo * "$(cat deep/late)")"
cp --sparse=always "$M/$S/raw" "$W/guest.img"
same "a snapshot" "$W/guest.img" "$M/$S/p0"
labctl rm lab
