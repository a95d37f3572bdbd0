#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# fs-reset.sh - eight walks over the tree at once while the lab goes back again and again
# TIMEOUT: 150
# REQUIRES: root fuse tun dnsmasq mke2fs jq
. "${SRCDIR:-.}/tests/lib.sh"

M=$TEST_DIR/mnt L=$TEST_DIR/mnt/labs/t
ROUNDS=${RESET_ROUNDS:-5}
# What a walk may meet of a lab that changes: ctl cannot be read; what is only there while an instance
# runs comes and goes between readdir and open; a capture or a picture is asked of a QEMU that ends
ALLOWED='/ctl.*: .*Permission denied|No such file or directory|No such device|file changed as we read it|File removed before we read it|Exiting with failure status|exit delayed from previous errors|/(pcap|screen\.png).*: .*Device or resource busy'

is()
{
	[ "$(cat "$2")" = "$1" ]
}

idle()
{
	[ "$(api GET /v1/jobs | jq '[.[] | select(.state == "running" or .state == "queued")] | length')" = 0 ]
}

# walk NUMBER COMMAND...: until there is a file "stop"; its walks are counted, its words kept
walk()
{
	local number=$1 n=0
	shift
	until [ -e stop ]; do
		timeout 60 "$@" >/dev/null 2>>"walk$number.err" || [ $? != 124 ] || echo "$*: hangs" >>"walk$number.err"
		n=$((n + 1))
		rm -rf "walk$number"
	done
	echo $n >"walk$number.count"
}

# The longest of single reads, in ms
probe()
{
	local f start took longest=0 n=0
	until [ -e stop ]; do
		for f in "$M/status" "$L/state" "$L/instances/a/state" "$L/instances/b/stat" "$L/instances/a/console.log" \
			"$M/images/img/files/hello" "$L/snapshots/s/instances/a/files/hello"; do
			start=${EPOCHREALTIME/./}
			read -r <"$f" || true
			took=$(((${EPOCHREALTIME/./} - start) / 1000))
			[ $took -le $longest ] || longest=$took
			n=$((n + 1))
		done
	done 2>>probe.err
	echo $longest >probe.longest
	echo $n >probe.count
}

labd_start
mount_tree "$M"
cd "$TEST_DIR"
mkdir root
echo hello >root/hello
mke2fs -q -t ext4 -d root img.raw 16M
cp img.raw "$M/images/img.img"
wait_for "the image" 20 is ready "$M/images/img/state"
mkdir "$L" "$L/instances/a" "$L/instances/b"
echo '{"image": "img", "memory": "64M", "ready": []}' >spec
cat spec >"$L/instances/a/spec"
cat spec >"$L/instances/b/spec"
echo up >"$L/state"
wait_for "the lab" 30 is up "$L/state"
wait_for "its job" 20 idle
mkdir "$L/snapshots/s"
echo golden >"$L/ctl"
wait_for "the golden" 30 idle
check_eq "error of the lab" "" "$(cat "$L/error")"

walk 1 find "$M/labs" "$M/images" -ls & jobs=($!)
walk 2 find "$M/labs" -type f -size +1k & jobs+=($!)
walk 3 find "$M/inspect/images" "$M/inspect/labs/t/snapshots" -type f & jobs+=($!)
walk 4 tar -C "$M" -cf - --exclude=ctl labs & jobs+=($!)
walk 5 tar -C "$M/images" -cf - img & jobs+=($!)
walk 6 cp -r "$L/instances" walk6 & jobs+=($!)
walk 7 cp -a "$L" walk7 & jobs+=($!)
walk 8 grep -r --exclude=ctl nothing-has-this "$M/labs" & jobs+=($!)
probe & jobs+=($!)
on_exit touch "$TEST_DIR/stop"

for i in $(seq "$ROUNDS"); do
	echo reset >"$L/ctl"
	wait_for "reset $i" 60 idle
	check_eq "error of the lab after reset $i" "" "$(cat "$L/error")"
	check_eq "state of the lab after reset $i" up "$(cat "$L/state")"
done
touch stop
wait "${jobs[@]}"
walks=0
for n in 1 2 3 4 5 6 7 8; do
	[ "$(cat walk$n.count)" -gt 0 ] || fail "walk $n never came to its end"
	walks=$((walks + $(cat walk$n.count)))
done
say "$walks walks, $(cat probe.count) reads, the longest $(cat probe.longest) ms"
cat walk*.err | sed "s|$TEST_DIR||g" | sort | uniq -c | sort -rn | sed 's/^/    /' >words
cat words
if grep -Ev "$ALLOWED" words; then fail "words that labfs(5) does not say"; fi
[ "$(cat probe.longest)" -le $((2000 * ${TEST_TIMES:-1})) ] || fail "a read took $(cat probe.longest) ms"
check_match "labfs" "labd up" "$(cat "$M/status")"
labctl down -k t # there is nothing in these guests that would hear of it
rm -r "$L" "$M/images/img"
