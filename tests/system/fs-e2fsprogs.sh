#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-e2fsprogs.sh - the broken filesystems that e2fsprogs tests itself with, from its source package:
# each is walked and read in time, with no errno but those that tell damage, and the tree goes on
# TIMEOUT: 300
# HOSTNET
# REQUIRES: root fuse qemu-img
. "${SRCDIR:-.}/tests/lib.sh"
. "${SRCDIR:-.}/tests/lib/files.sh"

# The source package's archive, from where the host gets its packages
fetch()
{
	local apt=$W/apt list command
	mkdir -p "$apt/lists/partial" "$apt/archives/partial" "$apt/parts"
	for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ ! -e "$list" ] || sed -n 's/^deb /deb-src /p' "$list" >>"$apt/parts/all.list"
	done
	for list in /etc/apt/sources.list.d/*.sources; do
		[ ! -e "$list" ] || sed 's/^Types:.*/Types: deb-src/' "$list" >"$apt/parts/${list##*/}"
	done
	for command in update "source --download-only e2fsprogs"; do
		# shellcheck disable=SC2086 # words of a command
		(cd "$apt" && apt-get -qq -o APT::Sandbox::User=root -o Dir::Etc::sourcelist=/dev/null \
			-o Dir::Etc::sourceparts="$apt/parts" -o Dir::State::lists="$apt/lists" \
			-o Dir::Cache="$apt" $command) >"$W/apt.log" 2>&1 ||
			return 1
	done
	cp "$apt"/e2fsprogs_*.orig.tar.?z "$W/e2fsprogs.tar"
}

# look NAME: all names and contents; what is said of them
look()
{
	local status=0
	timeout 20 find "$M/images/$1/files/p0/" -ls >/dev/null 2>"$W/words" || status=$?
	timeout 20 find "$M/images/$1/files/p0/" -type f -size -16M -exec cat {} + >/dev/null \
		2>>"$W/words" || [ $? != 124 ] || status=124
	[ $status != 124 ] || fail "$1: hangs"
	if grep -Ev "Structure needs cleaning|Input/output error|Operation not supported" "$W/words"; then
		wrong+=("$1")
	fi
}

mkdir "$M" "$W"
fetch || skip "no source package of e2fsprogs can be had: $(tail -n 1 "$W/apt.log")"
tar -C "$W" -xf "$W/e2fsprogs.tar" --wildcards --strip-components=2 '*/tests/f_*/image.gz'
labd_start
on_exit umount_tree
labfs "$M"

truncate -s 8M "$W/good.img"
mkdir "$W/src"
echo good >"$W/src/file"
mke2fs -q -F -d "$W/src" "$W/good.img"
import good "$W/good.img"

count=0 damaged=0 wrong=()
for image in "$W"/f_*/image.gz; do
	name=${image%/image.gz} name=${name##*/}
	gunzip -c "$image" >"$W/image" 2>/dev/null
	truncate -s %4096 "$W/image"
	import "$name" "$W/image"
	look "$name"
	count=$((count + 1))
	[ ! -s "$W/words" ] || damaged=$((damaged + 1))
	check_eq "the good one, after $name" good "$(cat "$M/images/good/files/p0/file")"
	rmdir "$M/images/$name"
done
say "$count filesystems, $damaged with something that cannot be read"
[ ${#wrong[@]} = 0 ] || fail "another errno: ${wrong[*]}"
[ $count -gt 150 ] || fail "there are more than that in e2fsprogs"
[ $damaged -gt 10 ] || fail "some are so damaged that it has to be said"
