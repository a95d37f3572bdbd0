#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# a lab to a file, and into another labd: with its memory it goes on, without it boots;
# damaged and hostile files are refused and leave nothing
# TIMEOUT: 600
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
export LABD_SPARES=no # their files come and go
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a:
    image: tiny
    memory: 128M
    networks: [mgmt]
    disks: { data: { size: 16M } }
    ready: [{ agent: true, timeout: 300 }]
YAML
labctl up "$TEST_DIR/lab.yaml"
guest a sh -c 'echo disk >/root/mark; sync; echo ram >/run/mark; sleep 99999 </dev/null >/dev/null 2>&1 &'
mac=$(inst a 'nics[0].mac')
labctl golden lab
before=$(guest a cut -d. -f1 /proc/uptime)

labctl export lab --with-ram "$TEST_DIR/ram.lab"
labctl export lab "$TEST_DIR/disks.lab"
check_fails 1 "exists already" labctl export lab "$TEST_DIR/ram.lab"
check_fails 1 "no snapshot nosuch" labctl export lab --from nosuch "$TEST_DIR/x.lab"
check_eq "mode of the file" 600 "$(stat -c %a "$TEST_DIR/ram.lab")"
check_eq "state of the exported lab" up "$(api GET /v1/labs/lab | jq -r .state)"

# a clone's golden stands on files of the first lab: the file has all of them
labctl clone lab twin --from golden
guest twin/a sh -c 'echo twin >>/root/mark; sync'
labctl snapshot create twin later
labctl export twin --with-ram --from later "$TEST_DIR/twin.lab"
labctl down twin
labctl rm twin
labctl down lab

# ---- another labd ----------------------------------------------------------------

labd_stop
first_state=$LABD_STATE first_run=$LABD_RUN
second() { export LABD_STATE=$TEST_DIR/s2 LABD_RUN=$TEST_DIR/r2; }
left()
{
	find "$LABD_STATE" -mindepth 2 -printf '%P\n'
	find "$TEST_DIR" -maxdepth 1 -name '*.tmp'
}
second
mkdir -p "$LABD_STATE" "$LABD_RUN"
labd_start

# what a file says is not believed: none of these leaves anything
size=$(stat -c %s "$TEST_DIR/ram.lab")
head -c $((size / 2)) "$TEST_DIR/ram.lab" >"$TEST_DIR/bad.lab"
check_fails 1 "damaged or truncated" labctl import "$TEST_DIR/bad.lab"
cp "$TEST_DIR/ram.lab" "$TEST_DIR/bad.lab"
printf '\x55\xaa\x55' | dd of="$TEST_DIR/bad.lab" bs=1 seek=$((size * 2 / 3)) conv=notrunc status=none
check_fails 1 "damaged" labctl import "$TEST_DIR/bad.lab"
check_fails 1 "damaged or truncated" labctl import "$TEST_DIR/lab.yaml"
check_fails 1 "No such file" labctl import "$TEST_DIR/nosuch.lab"
check_fails 1 "cannot be the name" labctl import "$TEST_DIR/ram.lab" -- -x

# hostile WORDS JQ [COMMAND...]: change the manifest, then files in the directory
hostile()
{
	local words=$1 edit=$2
	shift 2
	rm -rf "$TEST_DIR/h"
	packtool unpack "$TEST_DIR/ram.lab" "$TEST_DIR/h"
	jq "$edit" "$TEST_DIR/h/manifest.json" >"$TEST_DIR/h/m"
	mv "$TEST_DIR/h/m" "$TEST_DIR/h/manifest.json"
	[ $# = 0 ] || (cd "$TEST_DIR/h" && "$@")
	packtool pack "$TEST_DIR/h" "$TEST_DIR/bad.lab"
	check_fails 1 "$words" labctl import "$TEST_DIR/bad.lab"
	check_eq "what is left after '$words'" "" "$(left)"
	check_eq "labs, images" "0 0" "$(api GET /v1/model | jq -r '"\(.labs | length) \(.images | length)"')"
}
packtool unpack "$TEST_DIR/ram.lab" "$TEST_DIR/h"
root=instances/a/root.0.qcow2
image=images/$(ls "$TEST_DIR/h/images")
hostile "cannot be the name of a lab" '.lab = "../../x"'
hostile "specification cannot be read" '.spec.instances.a.image = "/etc/passwd"'
hostile "specification cannot be read" '.spec.instances.a.memory = "lots"'
hostile "is not one of the lab" '.instances.a.disks[0].name = "other"'
hostile "is not one of the lab" '.instances.a.disks[0].layers = 100000'
hostile "is missing" '.instances.a.disks[0].layers += 1'
hostile "not in the lab" '.instances["../b"] = .instances.a'
hostile "not the size that the lab file says" '.spec.instances.a.memory *= 2'
hostile "external file" . qemu-img create -q -f qcow2 -o "data_file=$TEST_DIR/victim,data_file_raw=on" "$root" 1K
hostile "does not begin like one" . cp /etc/passwd "$root"
hostile "backing file" '.instances.a.disks[0].base = false' true
hostile "backing file" . qemu-img rebase -u -f qcow2 -F raw -b /etc/passwd "$image/disk.qcow2"
hostile "not what the image's manifest says" . sh -c "echo >>$image/vmlinuz"
hostile "manifest is another one" '.images[].cmdline = "init=/bin/sh"'
hostile "of its memory is not said" 'del(.instances.a.memory.machine)'
hostile "external file" . qemu-img create -q -f qcow2 -o "data_file=$TEST_DIR/victim,data_file_raw=on" \
	instances/a/memory/state.qcow2 1M
# qemu-img has made that file, of zeros; nobody else is to write to it
cmp -n "$(stat -c %s "$TEST_DIR/victim")" "$TEST_DIR/victim" /dev/zero

# another processor, or QEMU: said before anything is done, and the disks can be had
rm -rf "$TEST_DIR/h"
packtool unpack "$TEST_DIR/ram.lab" "$TEST_DIR/h"
jq '.instances.a.memory.qemu = "1.0"' "$TEST_DIR/h/manifest.json" >"$TEST_DIR/h/m"
mv "$TEST_DIR/h/m" "$TEST_DIR/h/manifest.json"
packtool pack "$TEST_DIR/h" "$TEST_DIR/other.lab"
rm -rf "$TEST_DIR/h"
check_match "what is said of another QEMU" "cannot be used here.*saved with QEMU 1.0" \
	"$(labctl import "$TEST_DIR/other.lab" other)"
check_eq "snapshot without memory" "imported false" \
	"$(api GET /v1/labs/other | jq -r '.snapshots[0] | "\(.name) \(.memory)"')"
labctl rm other

# ---- it goes on --------------------------------------------------------------------

check_match "check" "memory: can be used here" "$(labctl import --check "$TEST_DIR/ram.lab")"
check_eq "labs after --check" 0 "$(api GET /v1/labs | jq length)"
labctl import "$TEST_DIR/ram.lab" moved
check_fails 1 "there is a lab moved already" labctl import "$TEST_DIR/ram.lab" moved
LAB=moved
check_eq "state" "down golden true" \
	"$(api GET /v1/labs/moved | jq -r '"\(.state) \(.snapshots[0] | "\(.name) \(.memory)")"')"
[ ! -d "$LABD_STATE/imports" ] || fail "the import has left its directory"
labctl up moved
uptime=$(guest a cut -d. -f1 /proc/uptime)
check_eq "its file" disk "$(guest a cat /root/mark)"
check_eq "what was in memory" ram "$(guest a cat /run/mark)"
guest a pidof sleep || fail "the program does not run on"
check_eq "name of the image: it is not to be taken for the recipe's" tiny-2 "$(inst a image)"
check_eq "MAC address" "$mac" "$(inst a 'nics[0].mac')"
[ "$uptime" -le $((before + 60)) ] || fail "uptime is $uptime, was $before"
check_match "how it came up" "load" "$(api GET /v1/jobs | jq -r '.[0].id' |
	xargs -I@ curl -sS --unix-socket "$LABD_RUN/labd.sock" http://labd/v1/jobs/@/log)"

# ---- only disks: the image is here already --------------------------------------------

labctl import "$TEST_DIR/disks.lab" cold
check_eq "images" 1 "$(api GET /v1/images | jq length)"
labctl up cold --no-golden
check_fails 1 "has no memory" labctl export cold --with-ram "$TEST_DIR/x.lab"
check_eq "its file" disk "$(guest cold/a cat /root/mark)"
check_fails 1 "" guest cold/a cat /run/mark
labctl down cold

# ---- the clone, with its chain --------------------------------------------------------

labctl import "$TEST_DIR/twin.lab"
labctl up twin
check_eq "its file" "disk twin" "$(guest twin/a cat /root/mark | xargs)"
check_eq "what was in memory" ram "$(guest twin/a cat /run/mark)"
labctl down twin
labctl rm twin

# ---- a stopped lab without a golden, cancel, full disk, kill -----------------------------

labctl snapshot rm cold imported
labctl export cold "$TEST_DIR/stopped.lab"
check_match "automatic snapshot" "auto-export" "$(labctl -q ls snapshots)"
labctl import "$TEST_DIR/stopped.lab" again
labctl rm again

state=$(left | sort)
job=$(labctl -q export moved --with-ram "$TEST_DIR/x.lab" --detach)
api DELETE "/v1/jobs/$job" >/dev/null
labctl wait "$job" || true
[ ! -e "$TEST_DIR/x.lab" ] || rm "$TEST_DIR/x.lab"
check_eq "what is left of a cancelled export" "$state" "$(left | sort)"

killed() # WHEN COMMAND...: labd dies while it does that, at the latest when it has done it
{
	local when=$1 job
	shift
	job=$(labctl -q "$@" --detach)
	wait_for "a moment for kill -9" 30 eval "$when || labctl -q wait $job"
	labd_kill
	labd_start
	rm -f "$TEST_DIR/x.lab"
	! labctl -q ls labs | grep -q "^new" || labctl rm new
	check_eq "what is left after labctl $1" "$state" "$(left | sort)"
}
killed "true" export moved --with-ram "$TEST_DIR/x.lab"
killed "compgen -G '$TEST_DIR/*.tmp'" export moved --with-ram "$TEST_DIR/x.lab"
killed "true" import "$TEST_DIR/ram.lab" new
killed "test -d '$LABD_STATE/imports'" import "$TEST_DIR/ram.lab" new
killed "test -d '$LABD_STATE'/imports/*/instances" import "$TEST_DIR/ram.lab" new
killed "labctl -q ls labs | grep '^new'" import "$TEST_DIR/ram.lab" new
check_eq "images" 1 "$(api GET /v1/images | jq length)"

mkdir "$TEST_DIR/small"
mount -t tmpfs -o size=4m none "$TEST_DIR/small"
on_exit umount "$TEST_DIR/small"
check_fails 1 "No space left" labctl export moved --with-ram "$TEST_DIR/small/x.lab"
check_eq "what is left on the full disk" "" "$(ls -A "$TEST_DIR/small")"

labctl down moved
for lab in moved cold; do
	labctl rm "$lab"
done
labctl image rm tiny-2
check_eq "what is left" "" "$(left)"
! grep -i "undoing" "$TEST_DIR/labd.log" || fail "something could not be undone"
labd_stop
export LABD_STATE=$first_state LABD_RUN=$first_run
LAB=lab
labd_start
labctl rm lab
