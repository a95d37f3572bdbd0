#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-tree.sh - the tree: what can be read, written, made and destroyed, every errno
# TIMEOUT: 120
# REQUIRES: root fuse
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt I=$TEST_DIR/mnt/labs/t/instances

umount_tree()
{
	fusermount3 -u -z "$M" 2>/dev/null || true
}

# try EXPECTED COMMAND...: "ok", or the words of the errno
try()
{
	local want=$1 text status=0
	shift
	text=$("$@" 2>&1 </dev/null) || status=$?
	if [ "$want" = ok ]; then
		[ $status = 0 ] || fail "$*: $text; error: $(cat "$M/error")"
	else
		[ $status != 0 ] || fail "$*: succeeded, expected '$want'"
		[[ $text == *"$want"* ]] || fail "$*: expected '$want', got: $text"
	fi
}

# put VALUE FILE: as a shell's user does
put()
{
	# shellcheck disable=SC2016 # expanded by the inner shell
	bash -c 'echo "$1" > "$2"' put "$1" "$2"
}

is()
{
	[ "$(cat "$2")" = "$1" ]
}

mkdir "$M"
labd_start
mkdir -p "$LABD_STATE/images"
on_exit umount_tree
labfs "$M"

# ---- a tree that nobody has filled
try ok cat "$M/status" "$M/version" "$M/error" "$M/events"
check_match status "labd up" "$(cat "$M/status")"
try "Operation not permitted" mkdir "$M/x"
try "Operation not permitted" touch "$M/x"
try "Operation not permitted" rm "$M/status"
try "Permission denied" put 1 "$M/version"

# ---- mkdir makes, and what is made is there
try ok mkdir "$M/labs/t"
check_eq "state of a new lab" down "$(cat "$M/labs/t/state")"
try "File exists" mkdir "$M/labs/t"
try "Invalid argument" mkdir "$M/labs/-rf"
try "File name too long" mkdir "$M/labs/$(printf 'a%.0s' {1..49})"
try "No such file or directory" cat "$M/labs/none/state"
qemu-img create -q -f qcow2 "$TEST_DIR/blank.qcow2" 8M
try ok cp "$TEST_DIR/blank.qcow2" "$M/images/"
wait_for "the image" 20 is ready "$M/images/blank/state"
try ok mkdir "$I/w"
check_eq "state of a new instance" defined "$(cat "$I/w/state")"
number=$(stat -c %i "$I/w/state")

# ---- values: one write is one command, what is written is read back
try ok put blank "$I/w/image"
check_eq image blank "$(cat "$I/w/image")"
try ok put "  64M " "$I/w/memory"
check_eq memory 67108864 "$(cat "$I/w/memory")"
try ok put 2 "$I/w/vcpus"
try "Invalid argument" put 2x "$I/w/vcpus"
check_match "the error" "vcpus is a number" "$(cat "$I/w/error")"
check_match "/error" "labs/t/instances/w/vcpus: vcpus is a number" "$(cat "$M/error")"
try "Numerical result out of range" put 0 "$I/w/vcpus"
try "Numerical result out of range" put 99999999999999999999 "$I/w/vcpus"
check_eq "vcpus after refusals" 2 "$(cat "$I/w/vcpus")"
try "File name too long" put "$(printf 'a%.0s' {1..60})" "$I/w/image"
try "Argument list too long" dd "if=/dev/zero" "of=$I/w/image" bs=5000 count=1 conv=notrunc
try "Invalid argument" bash -c "printf 'a\\0b' > '$I/w/image'"
try "Permission denied" put 1 "$I/w/pid"
try "Permission denied" cat "$I/w/ctl"
try "Read-only file system" put x "$I/w/console.log"
echo '{"ready": []}' >"$TEST_DIR/spec"
try ok cp "$TEST_DIR/spec" "$I/w/spec"
echo '{"ready": ' >"$TEST_DIR/spec"
try "Invalid argument" cp "$TEST_DIR/spec" "$I/w/spec"
try "Argument list too long" bash -c "head -c 70000 /dev/zero > '$I/w/spec'"
try "cannot overwrite" bash -c "set -C; echo 1 > '$I/w/vcpus'"
try ok bash -c "set -C; echo 1 >| '$I/w/vcpus'"
try ok dash -c "echo 2 >> '$I/w/vcpus'"
try "I/O error" dash -c "echo many > '$I/w/vcpus'"

# ---- what never makes sense, and what is quiet for cp -a and rsync
try "Operation not permitted" touch "$I/w/new"
try "Operation not permitted" ln -s x "$I/w/new"
try "Operation not permitted" ln "$I/w/state" "$I/w/new"
try "Operation not permitted" mv "$I/w/state" "$I/w/new"
try "Operation not permitted" mv "$I/w" "$M/images/w"
try "Operation not permitted" chmod 600 "$I/w/state"
try ok chmod 644 "$I/w/state"
try ok chown "$(id -u)" "$I/w/state"
try ok touch "$I/w/state"
try "Operation not permitted" mkdir "$M/images/x"

# ---- sizes are exact: tar says nothing, and has everything
try ok tar -C "$M" --exclude=ctl -cf "$TEST_DIR/tree.tar" labs images
try ok tar -C "$M" --exclude=ctl --exclude=uptime --exclude=stat -df "$TEST_DIR/tree.tar"
while read -r file; do
	[ "$(stat -c %s "$file")" = "$(wc -c <"$file")" ] || fail "$file: size"
done < <(find "$M/labs" "$M/images" "$M/version" -type f ! -name ctl)

# ---- a guest
try ok put running "$I/w/state"
wait_for "the guest to run" 20 is running "$I/w/state"
try ok put running "$I/w/state"
check_match pid '^[0-9]+$' "$(cat "$I/w/pid")"
check_match stat 'rss [0-9]+' "$(cat "$I/w/stat")"
check_match nic '^52:54:00' "$(cat "$I/w/nics/eth0/mac")"
check_match "nic's counters" 'rx_bytes [0-9]+' "$(cat "$I/w/nics/eth0/stat")"
check_eq "the port of its network" "$(cat "$I/w/nics/eth0/mac")" \
	"$(cat "$M/labs/t/networks/default/ports/w:eth0/mac")"
try "Device or resource busy" rm "$I/w/state"
try "Device or resource busy" rm -r "$I/w"
try "Device or resource busy" rmdir "$I/w"
try "Device or resource busy" rm -r "$M/labs/t"
try "Device or resource busy" rmdir "$M/images/blank"
try "Device or resource busy" mv "$I/w" "$I/v"
try "Invalid argument" put flying "$I/w/state"
try "Invalid argument" put "restore" "$I/w/ctl"
try "No such file or directory" put "restore none" "$I/w/ctl"
try ok put paused "$I/w/state"
wait_for "the guest to pause" 20 is paused "$I/w/state"
try ok put running "$I/w/state"
wait_for "the guest to go on" 20 is running "$I/w/state"
try ok put kill "$I/w/ctl"
wait_for "the guest to end" 20 is stopped "$I/w/state"
try ok put stopped "$I/w/state"
check_eq "the inode number, all this time" "$number" "$(stat -c %i "$I/w/state")"

# ---- snapshots, protection, another name, the end
try ok mkdir "$M/labs/t/snapshots/s"
check_eq members w "$(cat "$M/labs/t/snapshots/s/members")"
check_eq "snapshots of the instance" s "$(ls "$I/w/snapshots")"
try ok put "restore s" "$M/labs/t/ctl"
wait_for "the restore" 20 test -z "$(cat "$M/labs/t/error")"
wait_for "the snapshot to go" 20 rmdir "$M/labs/t/snapshots/s"
try ok put 1 "$I/w/protect"
try "Operation not permitted" rm -r "$I/w"
try "Operation not permitted" rmdir "$I/w"
try ok put 0 "$I/w/protect"
try ok mkdir "$I/other"
try "File exists" bash -c "mv -T '$I/w' '$I/other'"
try ok mv "$I/w" "$I/v"
check_eq "the inode number under another name" "$number" "$(stat -c %i "$I/v/state")"
exec {open}<"$I/v/state"
try ok rm -r "$I/v"
try "No such device" bash -c "cat <&$open"
exec {open}<&-
try "No such file or directory" cat "$I/v/state"
try "Device or resource busy" rmdir "$M/labs/t"

# ---- rm -r of an instance leaves a snapshot that others are in, rm -r of the lab takes everything
try ok rmdir "$I/other"
for name in a b; do
	try ok mkdir "$I/$name"
	try ok put blank "$I/$name/image"
	try ok put '{"memory": "64M", "ready": []}' "$I/$name/spec"
done
try ok put up "$M/labs/t/state"
wait_for "both to run" 20 is up "$M/labs/t/state"
try ok mkdir "$M/labs/t/snapshots/both"
try ok mkdir "$I/a/snapshots/alone"
check_eq members "a b" "$(cat "$M/labs/t/snapshots/both/members")"
try "Device or resource busy" rmdir "$I/a/snapshots/both"
try "Device or resource busy" rm -r "$I/a"
check_eq "snapshots of one that runs" "alone
both" "$(ls "$I/a/snapshots")"
for name in a b; do
	try ok put kill "$I/$name/ctl"
	wait_for "$name to end" 20 is stopped "$I/$name/state"
done
try "Device or resource busy" rmdir "$I/a/snapshots"
try ok rmdir "$I/a/snapshots/both"
check_eq "seen from an instance alone, it stays" "a b" "$(cat "$M/labs/t/snapshots/both/members")"
try ok rm -r "$I/a"
check_eq "without one of its instances" b "$(cat "$M/labs/t/snapshots/both/members")"
check_eq "snapshots that are left" both "$(ls "$M/labs/t/snapshots")"
try ok rm -r "$M/labs/t"
try ok rm -r "$M/images/blank"
check_eq "what is left" "" "$(ls -A "$M/labs")$(ls -A "$M/images")"
pid=$(awk '$1 == "pid" { print $2 }' "$M/status")
rss=$(awk '/VmRSS/ { print $2 }' "/proc/$pid/status")
say "labfs uses $rss KiB"
[ "$rss" -le 10240 ] || grep -q libasan "/proc/$pid/maps" || fail "labfs uses more than 10 MiB: $rss KiB"
