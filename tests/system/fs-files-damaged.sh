#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-files-damaged.sh - damaged and hostile filesystems: an errno, no hang, nothing of the host
# TIMEOUT: 180
# REQUIRES: root fuse mke2fs debugfs perl
. "${SRCDIR:-.}/tests/lib.sh"

. "${SRCDIR:-.}/tests/lib/files.sh"

# make NAME [OPTION...]: a small filesystem, without checksums, so that damage is found late
make()
{
	local name=$1
	shift
	truncate -s 8M "$W/$name.img"
	mke2fs -q -F -t ext4 -b 1024 -O ^metadata_csum,^has_journal -d "$W/src" "$@" \
		"$W/$name.img" 2>/dev/null
}

# poke NAME COMMAND...: debugfs writes into it
poke()
{
	local name=$1
	shift
	printf '%s\n' "$@" | debugfs -w -f - "$W/$name.img" >>"$W/debugfs.log" 2>&1
}

mkdir "$M" "$W" "$W/src" "$W/src/a" "$W/src/a/b"
echo good >"$W/src/good"
echo other >"$W/src/a/other"
echo slash >"$W/src/a/b/na_me"
head -c 300000 /dev/urandom >"$W/src/data"
labd_start
on_exit umount_tree
labfs "$M"

# ---- a directory in itself would be a tree without end
make loop
poke loop "link a a/b/again" "link a/b elsewhere"
import loop "$W/loop.img"
P=$M/images/loop/files/p0
refused stat "$P/a/b/again"
refused ls "$P/elsewhere"
timeout 20 find "$P" >"$W/found" 2>"$W/words" || true
[ "$(wc -l <"$W/found")" -lt 20 ] || fail "find walked $(wc -l <"$W/found") names"
check_eq "its neighbours" "good other" "$(cat "$P/good" "$P/a/other" | tr '\n' ' ' | xargs)"

# ---- a name with a slash in it
make slash
perl -0777 -pi -e 's/na_me/na\/me/g' "$W/slash.img"
import slash "$W/slash.img"
refused ls "$M/images/slash/files/p0/a/b/"
check_eq "its neighbours" other "$(cat "$M/images/slash/files/p0/a/other")"

# ---- extents that go in a circle, or out of the filesystem; inodes that are none
make inodes
poke inodes "set_inode_field data block[3] 0" "set_inode_field data block[5] 99999999" \
	"set_inode_field a/other mode 0" "set_inode_field a/b block[2] 0" \
	"set_inode_field a/b block[5] 7777777"
import inodes "$W/inodes.img"
P=$M/images/inodes/files/p0
refused cat "$P/data"
refused cat "$P/a/other"
refused ls "$P/a/b/"
check_eq "its neighbours" good "$(cat "$P/good")"

# ---- a link of a guest is no way to the host, not even over other links
echo secret >"$W/secret"
make links
poke links "symlink a/self ." "symlink a/out self/self/self/../../../../../../../../..$W/secret" \
	"symlink up ../../../../../../../..$W/secret" "symlink root $W/secret"
import links "$W/links.img"
P=$M/images/links/files/p0
for link in a/out up root; do
	if text=$(cat "$P/$link" 2>/dev/null); then fail "$link leads to the host: $text"; fi
	if text=$(cat "$M/images/links/files/$link" 2>/dev/null); then
		fail "$link leads to the host: $text"
	fi
done

# ---- no filesystem any more, or only the outside of one
make header
printf '\377\377\377\377' | dd of="$W/header.img" bs=1 seek=1048 conv=notrunc status=none
import header "$W/header.img"
refused ls "$M/images/header/files/p0/"
check_match table "^p0 0 8388608 - ext[24] damaged" "$(cat "$M/images/header/files/table")"
check_match why "filesystem 0: " "$(cat "$M/images/header/error")"
truncate -s 8M "$W/nothing.img"
import nothing "$W/nothing.img"
if ls "$M/images/nothing/files/p0/" 2>"$W/words"; then fail "nothing was listed"; fi
check_match "of a disk without anything" "not supported" "$(cat "$W/words")"
check_match table "^p0 0 8388608 - - - -" "$(cat "$M/images/nothing/files/table")"

# ---- damage at random: whatever it says, it says it soon, and the tree goes on
make random
for round in 1 2 3 4 5 6; do
	cp "$W/random.img" "$W/random$round.img"
	perl -e 'srand(shift); open my $f, "+<", shift; for (1 .. 3000) {
		seek $f, 1024 + int(rand(rand() < 0.5 ? 2e5 : 8e6)), 0; print $f chr(rand(256)) }' \
		"$round" "$W/random$round.img"
	import "random$round" "$W/random$round.img"
	P=$M/images/random$round/files
	status=0
	# a damaged size may be any: the ends are enough
	timeout 40 find "$P/" -type f ! -name raw -exec head -qc 100000 {} + \
		-exec tail -qc 10000 {} + >/dev/null 2>&1 || status=$?
	[ $status != 124 ] || fail "round $round: hangs"
	cmp "$P/raw" "$W/random$round.img"
done

# ---- a journal that has to be replayed, with nothing in it; one that is on another disk
truncate -s 16M "$W/dirty.img"
mke2fs -q -F -t ext4 -d "$W/src" "$W/dirty.img" 2>/dev/null
poke dirty "feature needs_recovery"
import dirty "$W/dirty.img"
check_match "the state of its journal" "ext4 replayed" "$(cat "$M/images/dirty/files/table")"
check_eq "its files" good "$(cat "$M/images/dirty/files/good")"
poke dirty "set_super_value journal_inum 0"
import away "$W/dirty.img"
check_match "the state of its journal" "ext4 dirty" "$(cat "$M/images/away/files/table")"
check_eq "its files" good "$(cat "$M/images/away/files/good")"
