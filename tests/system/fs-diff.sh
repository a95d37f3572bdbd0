#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl diff tells what diff -r tells of two snapshots of a real guest, and modes and owners
# TIMEOUT: 300
# REQUIRES: root fuse tun dnsmasq curl jq mke2fs sfdisk qemu-io
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

M=$TEST_DIR/mnt W=$TEST_DIR/w
umount_tree()
{
	fusermount3 -u -z "$M" 2>/dev/null || true
}

# differs COMMAND...: its exit status is 1; what it prints is in $W/out
differs()
{
	local status=0
	"$@" >"$W/out" 2>"$W/err" || status=$?
	[ $status = 1 ] || fail "$*: exit status $status: $(cat "$W/err")"
}

# has LINE: $W/out has it
has()
{
	grep -qxF -- "$1" "$W/out" || fail "no line '$1' in: $(cat "$W/out")"
}

# Everything below a directory: path, then what labctl diff compares, but contents
attributes()
{
	(cd "$1" && find . -printf '%P\t%y %m %U %G %l\0' &&
		find . -type c -exec stat --printf '%n\t%t:%T\0' {} + | sed -z 's,^\./,,') |
		tr '\0\n' '\n?'
}

sums()
{
	(cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum -z | sed -z 's/^\([0-9a-f]*\)  ..\(.*\)/\2\t\1/') |
		tr '\0\n' '\n?'
}

# What differs between two trees, by find and sha256sum: paths
oracle()
{
	{
		comm -3 <(attributes "$1" | LC_ALL=C sort) <(attributes "$2" | LC_ALL=C sort)
		comm -3 <(sums "$1" | LC_ALL=C sort) <(sums "$2" | LC_ALL=C sort)
	} | sed 's/^\t//; s/\t.*//; s,^,/,' | LC_ALL=C sort -u
}

mkdir "$M" "$W"
cat >"$TEST_DIR/lab.yaml" <<YAML
lab: lab
networks: { mgmt: { cidr: 10.20.0.0/24, uplink: none } }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], disks: { data: 64M } }
  b: { image: tiny, memory: 128M, networks: [mgmt] }
YAML
on_exit umount_tree
labfs "$M"

say "a disk with a partition, for the guest to write to its own"
printf 'label: dos\nstart=2048, size=8192\n' >"$W/table"
truncate -s 8M "$W/data.img"
sfdisk -q "$W/data.img" <"$W/table"
mkdir -p "$W/src/here"
echo on-a-partition >"$W/src/here/file"
truncate -s 4M "$W/fs.img"
mke2fs -q -F -t ext2 -d "$W/src" "$W/fs.img" 2>/dev/null
dd if="$W/fs.img" of="$W/data.img" bs=1M seek=1 conv=notrunc status=none

labctl up --no-golden "$TEST_DIR/lab.yaml" >/dev/null
guest a sh -c 'cd /root && mkdir -p keep gone/deeper tree kind moved && echo 1 >keep/changed &&
	echo same >keep/same && echo x >keep/mode && echo y >keep/owner && echo z >gone/deeper/file &&
	ln -s old keep/link && ln -s same keep/samelink && mknod keep/null c 1 3 && echo f >kind/file &&
	mkdir kind/dir && echo in >kind/dir/in && dd if=/dev/urandom of=keep/big bs=1M count=3 2>/dev/null &&
	dd if=/dev/urandom of=keep/untouched bs=1M count=2 2>/dev/null && mkfifo keep/fifo && sync'
labctl stop lab/a lab/b >/dev/null
labctl snapshot create lab before >/dev/null

say "what an installer might do"
labctl start lab/a >/dev/null
wait_for "the agent of a" 60 guest a true
guest a sh -c 'cd /root && echo 2 >keep/changed && chmod 4755 keep/mode && chown 1000:70000 keep/owner &&
	rm -r gone && ln -sf new keep/link && rm keep/null && mknod keep/null c 1 5 && touch keep/same &&
	mv keep/fifo moved/ && rm -r kind/file kind/dir && ln -s x kind/file && echo now >kind/dir &&
	mkdir -p tree/new/er && echo n >tree/new/er/n && chmod 700 tree &&
	printf X | dd of=keep/big bs=1 seek=2000000 conv=notrunc 2>/dev/null &&
	touch -r /etc/passwd keep/big &&
	touch "$(printf "new\nline")" "$(printf "red\033[31m")" "$(printf "bad\377")" "$(printf "b\342\200\256idi")" "back\\slash"'
labctl cp "$W/data.img" lab/a:/root/data.img
guest a sh -c 'dd if=/root/data.img of=/dev/vdb bs=1M 2>/dev/null && rm /root/data.img && sync'
labctl snapshot create lab running >/dev/null
labctl stop lab/a >/dev/null
labctl snapshot create lab after >/dev/null

S1=$M/inspect/labs/lab/snapshots/before/instances/a S2=$M/inspect/labs/lab/snapshots/after/instances/a

say "the same as the tree says"
status=0
labctl -j diff lab/before after a/root: >"$W/json" || status=$?
check_eq "exit status" 1 $status
# names with odd bytes are looked at below
oracle "$S1/root/p0" "$S2/root/p0" | grep -v 'new?line\|red\|bad\|idi\|back' >"$W/oracle"
jq -r 'select(.path | test("new\nline|red|bad|idi|back") | not) | .path' "$W/json" |
	LC_ALL=C sort -u >"$W/ours"
[ "$(wc -l <"$W/ours")" -gt 15 ] || fail "only $(wc -l <"$W/ours") names: $(cat "$W/json")"
cmp "$W/oracle" "$W/ours" || fail "others differ: $(diff -a "$W/oracle" "$W/ours")"
diff -r --no-dereference -q "$S1/root/p0/root" "$S2/root/p0/root" >"$W/diff" || true
for f in keep/changed keep/big; do
	grep -q "^Files .*/$f and .*/$f differ" "$W/diff" || fail "diff -r: $(cat "$W/diff")"
done
check_eq "what diff -r says of contents" \
	"$(sed -n 's,^Files [^ ]*/p0\(/.*\) and .* differ$,\1,p' "$W/diff" | sort)" \
	"$(jq -r 'select(.change == "changed" and (.what | index("content"))).path | select(startswith("/root/"))' \
		"$W/json" | sort)"

say "lines"
differs labctl diff lab/before after
for line in "D a:/root/gone/" "D a:/root/gone/deeper/" "D a:/root/gone/deeper/file" \
	"M a:/root/keep/big (content)" "M a:/root/keep/changed (content)" \
	"D a:/root/keep/fifo" "A a:/root/moved/fifo" "M a:/root/keep/link (target old -> new)" \
	"M a:/root/keep/mode (mode 644 -> 4755)" "M a:/root/keep/null (device 1:3 -> 1:5)" \
	"M a:/root/keep/owner (owner 0:0 -> 1000:70000)" \
	"M a:/root/kind/dir (type directory -> file, mode 755 -> 644)" "D a:/root/kind/dir/in" \
	"M a:/root/kind/file (type file -> link, mode 644 -> 777)" \
	"M a:/root/tree/ (mode 755 -> 700)" "A a:/root/tree/new/er/n" \
	'A a:/root/new\nline' 'A a:/root/red\x1b[31m' 'A a:/root/bad\xff' \
	'A a:/root/b\xe2\x80\xaeidi' 'A a:/root/back\\slash'; do
	has "$line"
done
grep -q 'keep/same\|keep/untouched\|b:' "$W/out" && fail "too much: $(cat "$W/out")"
check_eq "control characters" "" "$(LC_ALL=C tr -d '\n -~' <"$W/out")"
check_eq "bytes of a name" "$(printf '/root/bad\377' | base64)" \
	"$(jq -r 'select(.path_base64).path_base64' "$W/json")"
check_eq "order" "$(grep -o 'keep/[a-z]*' "$W/out")" "$(grep -o 'keep/[a-z]*' "$W/out" | LC_ALL=C sort)"

say "a part of it, by partition, disk and path"
differs labctl diff lab/before after a:/root/keep/mode
check_eq "one file" "M a:/root/keep/mode (mode 644 -> 4755)" "$(cat "$W/out")"
differs labctl -q diff lab/before after /root/gone/deeper
check_eq "names" $'a:/root/gone/deeper/\na:/root/gone/deeper/file' "$(cat "$W/out")"
differs labctl diff lab/before after a/data:
has "A a/data:p1/here/file"
grep -q "p0" "$W/out" "$W/err" && fail "a disk is called a partition: $(cat "$W/out" "$W/err")"
differs labctl diff before lab/after :p1/here
check_eq "below a path" $'A a/data:p1/here/\nA a/data:p1/here/file' "$(cat "$W/out")"
check_eq "what was not touched" "" "$(labctl diff lab/before after b:)"
check_eq "a directory that is the same" "" "$(labctl diff lab/before after b:/etc)"
check_eq "one and the same" "" "$(labctl diff lab/after after)"

say "what is now"
check_eq "nothing since" "" "$(labctl diff lab/after)"
labctl start lab/b >/dev/null
wait_for "the agent of b" 60 guest b true
check_fails 2 "b: instance b runs.*snapshot" labctl diff lab/after now
guest b sh -c 'echo more >/root/more; rm /etc/motd /etc/issue 2>/dev/null; sync'
labctl stop lab/b >/dev/null
differs labctl diff lab/after now
has "A b:/root/more"

say "a guest that ran"
differs labctl diff lab/before running
check_match "a note" "note: a, disk root: in use when running was made.*only in its memory is not seen" \
	"$(cat "$W/err")"
# what was in its journal is seen; when it ended this was written back
differs labctl diff lab/before running /root
cp "$W/out" "$W/running"
differs labctl diff lab/before after /root
cmp "$W/out" "$W/running" || fail "with a journal: $(diff -a "$W/out" "$W/running")"
check_eq "with and without a journal" "" "$(labctl -q diff lab/running after /root)"

say "what is wrong is said"
check_fails 2 "/none is neither in before nor in after" labctl diff lab/before after /none
check_fails 2 "no snapshot|no instance" labctl diff lab/before none
check_fails 2 "is no path" labctl diff lab/before after etc
check_fails 2 "snapshot is missing" labctl diff /etc
check_fails 2 "is no path in a guest" labctl diff lab/before after a:etc

say "snapshot diff counts them"
check_eq "files" "$(labctl -j diff lab/before after a: | jq -s '[.[] | select(.path and .disk == "root")] | length')" \
	"$(labctl -j snapshot diff lab before after | jq '.instances[] | select(.name == "a").disks[] | select(.name == "root").files | .added + .removed + .changed')"
labctl snapshot diff lab before after >"$W/out"
check_match "of each disk" "root +[0-9.]+ MiB +[0-9]+ added, [0-9]+ removed, [0-9]+ changed" "$(cat "$W/out")"
check_match "where their names are" "labctl diff lab/before after a/root:" "$(cat "$W/out")"
check_match "of another disk" "labctl diff lab/before after a/data:" "$(cat "$W/out")"
differs labctl diff lab/before after a/data:
check_eq "of b nothing" "" "$(grep '^labctl diff.* b' "$W/out" || true)"
labctl rm -y lab >/dev/null
