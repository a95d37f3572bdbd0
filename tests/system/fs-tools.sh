#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-tools.sh - what people use on files, on the tree: what works, and what is refused as labfs(5) says
# TIMEOUT: 120
# REQUIRES: root fuse tun dnsmasq mke2fs busybox dash file git nano rsync strace tmux tree vim
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt N=$TEST_DIR/mnt/images I=$TEST_DIR/mnt/labs/t/instances

is()
{
	[ "$(cat "$2")" = "$1" ]
}

# fails STATUS WORDS... -- COMMAND...: each line it says has one of these words, and nothing else is wrong
fails()
{
	local want=$1 status=0 line word known
	local -a words=()
	shift
	while [ "$1" != -- ]; do
		words+=("$1")
		shift
	done
	shift
	"$@" >out 2>err </dev/null || status=$?
	check_eq "exit status of $*" "$want" $status
	[ -s err ] || fail "$*: failed without a word"
	while read -r line; do
		known=
		for word in "${words[@]}"; do
			[[ $line != *"$word"* ]] || known=1
		done
		[ -n "$known" ] || fail "$*: $line"
	done <err
}

labd_start
mount_tree "$M"
cd "$TEST_DIR"
mkdir root
echo hello >root/hello
head -c 300000 /dev/urandom >root/random
mke2fs -q -t ext4 -d root img.raw 16M
truncate -s 64M img.raw
qemu-img convert -O qcow2 img.raw img.qcow2
cp img.qcow2 "$N/"
wait_for "the image" 20 is ready "$N/img/state"
mkdir "$M/labs/t" "$I/w" "$I/v"
echo '{"image": "img", "memory": "64M", "ready": []}' >spec
cat spec >"$I/v/spec"
cat spec >"$I/w/spec"
echo running >"$I/v/state"
wait_for "the guest to run" 20 is running "$I/v/state"
mkdir "$M/labs/t/snapshots/s"

# ---- looking around
ls -lR "$M/labs" "$M/images" >out 2>err || fail "ls -lR: $(cat err)"
check_eq "what ls -lR says" "" "$(cat err)"
# shellcheck disable=SC2012 # it is ls that is looked at
check_eq "what ls shows of a value" "-rw-r--r-- 1 $(id -un) $(id -gn) 2" \
	"$(ls -ld "$I/w/vcpus" | awk '{ print $1, $2, $3, $4, $5 }')"
check_eq stat "regular file 644 2 1" "$(stat -c '%F %a %s %h' "$I/w/vcpus")"
check_eq "find -type d" "$(printf '%s\n' "$I/"{v,w})" "$(find "$I" -mindepth 1 -maxdepth 1 -type d | sort)"
check_eq "find -name -type f" 2 "$(find "$I" -name vcpus -type f | wc -l)"
check_eq "find -type l, of one that does not run" "" "$(find "$I/w" -maxdepth 1 -type l)"
check_eq "find -type l, of one that runs" "console files netns qmp" \
	"$(find "$I/v" -maxdepth 1 -type l -printf '%f\n' | sort | tr '\n' ' ' | sed 's/ $//')"
check_eq "find -size" "$N/img/disk.qcow2" "$(find "$N" -size +100k)"
fails 1 "inspect/labs/t/instances/v/root': Device or resource busy" -- find "$M"
disk=$(stat -c %b "$N/img/disk.qcow2")
used=$(du -s --block-size=512 "$N" | cut -f1)
[ "$used" -ge "$disk" ] && [ "$used" -lt $((disk + 100)) ] || fail "du says $used blocks, the disk has $disk"
check_eq "df's size" "$(df --output=size "$LABD_STATE" | tail -n 1)" "$(df --output=size "$M" | tail -n 1)"
check_eq "df's name" lab "$(df --output=source "$M" | tail -n 1)"
tree --noreport "$M/labs" >out
for word in topology vcpus "files -> ../../../../inspect/labs/t/instances/v/root"; do
	grep -qF -- "$word" out || fail "tree does not show $word"
done

# ---- reading
check_eq cat "1
1" "$(cat "$I"/*/vcpus)"
check_eq head "1" "$(head -n 1 "$I/w/vcpus")"
check_eq tail "1" "$(tail -n 1 "$I/w/vcpus")"
check_eq "wc -c" 2 "$(wc -c <"$I/w/vcpus")"
check_eq "grep -r" "$I/v/state:running" "$(grep -rx running "$M/labs" --exclude=ctl)"
fails 2 "/ctl: Permission denied" -- grep -r running "$M/labs"
check_match "diff -r" "vcpus" "$(echo 2 >"$I/w/vcpus"; diff -r --exclude=ctl "$I/v" "$I/w" || true)"
fails 2 "/ctl: Permission denied" -- diff -r "$I/v" "$I/w"
check_match cmp "differ: (byte|char) 1" "$(cmp "$I/v/vcpus" "$I/w/vcpus" || true)"
check_eq sort "1
2" "$(sort "$I/w/vcpus" "$I/v/vcpus")"
check_eq od "32 0a" "$(od -An -tx1 "$I/w/vcpus" | sed 's/^ //')"
check_eq file "ASCII text" "$(file -b "$I/w/state")"
check_match "file of a disk" "^QEMU QCOW" "$(file -b "$N/img/disk.qcow2")"
check_eq sha256sum "$(cat "$N/img/sha256")" "$(sha256sum "$N/img/disk.qcow2" | cut -d' ' -f1)"
cp "$N/img/disk.qcow2" out.qcow2
git diff --no-index --quiet "$N/img/disk.qcow2" out.qcow2 || fail "git diff, which maps what it reads, sees a difference"
check_match "qemu-img info" "virtual size: 64 MiB" "$(qemu-img info "$N/img/disk.qcow2")"
qemu-img convert -O raw "$N/img/disk.qcow2" out.raw
cmp out.raw img.raw
qemu-img compare -q img.raw "$N/img/disk.qcow2"
check_eq "a guest's file" "$(sha256sum <root/random)" "$(sha256sum <"$N/img/files/random")"

# ---- copying out
fails 1 "/ctl' for reading: Permission denied" -- cp -r "$I/w" copy
check_eq "what cp -r has copied" 2 "$(cat copy/vcpus)"
fails 1 "/ctl' for reading: Permission denied" -- cp -a "$I/w" copy-a
check_eq "time that cp -a has kept" "$(stat -c %Y "$I/w/vcpus")" "$(stat -c %Y copy-a/vcpus)"
fails 2 "/ctl: Cannot open: Permission denied" "Exiting with failure status" -- tar -C "$M" -cf ctl.tar labs
tar -C "$M" --exclude=ctl -cf tree.tar labs
mkdir untar
tar -C untar -xf tree.tar
check_eq "what tar has" 2 "$(cat untar/labs/t/instances/w/vcpus)"
fails 23 "/ctl\": Permission denied" "some files/attrs were not transferred" -- rsync -a "$M/labs" synced-ctl
rsync -a --exclude=ctl "$M/labs" synced
check_eq "what rsync would do again" "" "$(rsync -ai --exclude=ctl --exclude={uptime,stat,pcap,screen.png} "$M/labs" synced | grep '^>' || true)"

# ---- writing
echo 3 | tee "$I/w/vcpus" >/dev/null
check_eq "after tee" 3 "$(cat "$I/w/vcpus")"
printf 4 | dd "of=$I/w/vcpus" status=none
check_eq "after dd" 4 "$(cat "$I/w/vcpus")"
echo 5 >five
cp five "$I/w/vcpus"
check_eq "after cp" 5 "$(cat "$I/w/vcpus")"
truncate -s 0 "$I/w/vcpus"
touch "$I/w/vcpus"
chmod 644 "$I/w/vcpus"
check_eq "after truncate, touch, chmod" 5 "$(cat "$I/w/vcpus")"
fails 1 "Operation not permitted" -- chmod 666 "$I/w/vcpus"
fails 1 "Permission denied" -- truncate -s 0 "$I/w/pid"
fails 4 "couldn't open temporary file" -- sed -i s/5/6/ "$I/w/vcpus"
fails 1 "Operation not permitted" -- mv five "$I/w/five"
fails 1 "Operation not permitted" -- mv "$I/w/vcpus" "$I/w/cpus"
[ -e five ] || fail "mv has lost what it could not move"
fails 1 "/ctl' for reading: Permission denied" "': File exists" "': Operation not permitted" -- cp -r "$I/w" "$I/x"
rmdir "$I/x"
vim -u NONE -es -c '%s/5/6/' -c wq "$I/w/vcpus"
check_eq "after vim" 6 "$(cat "$I/w/vcpus")"
vim -es -c '%s/6/7/' -c wq "$I/w/vcpus"
check_eq "after vim with its defaults" 7 "$(cat "$I/w/vcpus")"
check_eq "what editors have left" "" "$(find "$I/w" -name '*~' -o -name '.*sw*')"
for shell in dash bash "busybox sh"; do
	echo 1 >"$I/w/vcpus"
	$shell -c "echo 8 >'$I/w/vcpus'"
	check_eq "after $shell" 8 "$(cat "$I/w/vcpus")"
	if $shell -c "set -C; echo 9 >'$I/w/vcpus'" 2>err; then fail "$shell: noclobber"; fi
	check_match "$shell with noclobber" "exist" "$(cat err)"
	$shell -c "set -C; echo 9 >|'$I/w/vcpus'"
	$shell -c "echo 10 >>'$I/w/vcpus'"
	check_eq "after >> of $shell" 10 "$(cat "$I/w/vcpus")"
done
tmux -S tmux.sock -f /dev/null new-session -d "TERM=xterm nano '$I/w/vcpus'"
on_exit tmux -S tmux.sock kill-server
nano_shows() { tmux -S tmux.sock capture-pane -p | grep -q "$1"; }
wait_for "nano to show the value" 10 nano_shows '^10'
tmux -S tmux.sock send-keys C-k 1 1 C-o Enter
wait_for "nano to write" 10 is 11 "$I/w/vcpus"
tmux -S tmux.sock send-keys C-x

# ---- a work tree around the mount
git init -q work
mkdir work/lab
labfs work/lab
on_exit umount -l work/lab
echo one >work/one
git -C work -c safe.directory='*' add one
check_eq "git status" "A  one
?? lab/" "$(git -C work -c safe.directory='*' status --porcelain)"
umount work/lab

# ---- what is not to be removed
echo 1 >"$I/w/protect"
fails 1 "Operation not permitted" -- find "$I/w" -delete
fails 1 "Operation not permitted" -- rm -r "$I/w"
fails 1 "Operation not permitted" -- rmdir "$I/w"
fails 1 "Device or resource busy" -- find "$I/v" -delete
fails 1 "Device or resource busy" -- rm -rf "$I/v"
fails 1 "Device or resource busy" -- rmdir "$N/img"
check_eq "instances that are left" "v
w" "$(ls "$I")"
check_eq "snapshots that are left" s "$(ls "$M/labs/t/snapshots")"
echo 0 >"$I/w/protect"
echo 1 >"$M/labs/t/protect"
fails 1 "Operation not permitted" "Device or resource busy" -- find "$M/labs/t" -delete
fails 1 "Operation not permitted" "Device or resource busy" -- rm -rf "$M/labs/t"
check_eq "instances of a protected lab that are left" "v
w" "$(ls "$I")"
check_eq "snapshots of a protected lab that are left" s "$(ls "$M/labs/t/snapshots")"
echo 0 >"$M/labs/t/protect"
find "$I/w" -delete
check_eq "instances after find -delete" v "$(ls "$I")"
fails 1 "Device or resource busy" -- mv "$N/img" "$N/other"
echo kill >"$I/v/ctl"
wait_for "the guest to end" 20 is stopped "$I/v/state"
rm -r "$M/labs/t"
mv "$N/img" "$N/other"
check_eq "images after mv" other "$(ls "$N")"
rm -r "$N/other"
check_eq "what is left" "" "$(ls -A "$M/labs")$(ls -A "$N")"
