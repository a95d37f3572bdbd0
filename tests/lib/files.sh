# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# files.sh - for tests of files of guests: a tree at $M, and what is in a directory

M=$TEST_DIR/mnt W=$TEST_DIR/w

umount_tree()
{
	fusermount3 -u -z "$M" 2>/dev/null || true
}

is()
{
	[ "$(cat "$2")" = "$1" ]
}

# import NAME FILE: as an image
import()
{
	cp --sparse=always "$2" "$M/images/$1.img" || fail "importing $1: $(cat "$M/error")"
	wait_for "image $1" 30 is ready "$M/images/$1/state"
}

# refused COMMAND...: it fails in time, with one of the two errnos that tell damage
refused()
{
	local text status=0
	text=$(timeout 10 "$@" 2>&1 >/dev/null) || status=$?
	[ $status != 124 ] || fail "$*: hangs"
	[ $status != 0 ] || fail "$*: succeeded"
	[[ $text =~ "Structure needs cleaning"|"Input/output error" ]] || fail "$*: $text"
}

# What stat() says of everything below a directory, without links' targets and sizes
list()
{
	(cd "$1" && find . ! -type l -printf '%P\t%y\t%m\t%U\t%G\t%s\t%b\t%n\t%T@\t%A@\t%C@\0' \
		-o -printf '%P\t%y\t%m\t%U\t%G\t%n\t%T@\t%C@\0') | sort -z | tr '\0' '\n'
}

# Which names are one file
links()
{
	(cd "$1" && find . -type f -links +1 -printf '%i %P\n' | sort -k 2 |
		awk '{ if (!($1 in n)) n[$1] = ++k; print n[$1], $2 }')
}

sums()
{
	(cd "$1" && find . -type f -size +0 -size -1G -print0 | sort -z | xargs -0 sha256sum)
}

# same_files WHAT DIR DIR: as the kernel mounts a filesystem, and as the tree shows it
same_files()
{
	list "$2" >"$W/kernel"
	list "$3" >"$W/tree"
	cmp "$W/kernel" "$W/tree" || fail "$1: metadata: $(diff -a "$W/kernel" "$W/tree" | head -4)"
	cmp <(links "$2") <(links "$3") || fail "$1: hard links differ"
	cmp <(sums "$2") <(sums "$3") || fail "$1: contents differ"
	say "$1: $(wc -l <"$W/tree") names are the same"
}
