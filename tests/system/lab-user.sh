#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# an ordinary user's labd: the same lab in a user namespace, nothing on the host
# TIMEOUT: 240
# REQUIRES: root tun userns dnsmasq curl jq setpriv
. "${SRCDIR:-.}/tests/lib.sh"
need tiny
labd_stop

me=65534
mkdir "$TEST_DIR/u" "$TEST_DIR/u/s" "$TEST_DIR/u/r"
# a built image: building needs a range of ids of that user in /etc/subuid
cp -r "$TEST_CACHE" "$TEST_DIR/u/c"
chown -R $me:$me "$TEST_DIR/u"
export LABD_IMAGE_CACHE=$TEST_DIR/u/c
as_user()
{
	setpriv --reuid=$me --regid=$me --clear-groups env HOME="$TEST_DIR/u" "$@"
}
export LABD_STATE=$TEST_DIR/u/s LABD_RUN=$TEST_DIR/u/r
# as udev makes it for everybody on a machine that has udev
mknod -m 666 "$TEST_DIR/tun" c 10 200
mount --bind "$TEST_DIR/tun" /dev/net/tun
on_exit umount /dev/net/tun
as_user test -w /dev/net/tun || skip "$TEST_DIR is on a file system without devices"

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24, uplink: none }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], forward: { 18080: 80 } }
YAML
chmod 644 "$TEST_DIR/lab.yaml"
links=$(ip -o link | wc -l)
(exec setpriv --reuid=$me --regid=$me --clear-groups env HOME="$TEST_DIR/u" labd) >>"$TEST_DIR/labd.log" 2>&1 &
LABD_PID=$! # lib.sh stops it
answers() { as_user labctl --no-start status; }
wait_for "labd to answer" 10 answers
as_user labctl image build tiny
as_user labctl up "$TEST_DIR/lab.yaml"
check_eq "exec" a "$(as_user labctl exec lab/a -- hostname)"
# a test gets into the network by the keeper, which is in that user's namespace
printf 'steps:\n  - { name: asks, http: { on: a, url: ":80/none" }, expect: { status: 404 } }\n' >"$TEST_DIR/u/test.yaml"
as_user labctl test lab "$TEST_DIR/u/test.yaml" --out "$TEST_DIR/u/out"
check_eq "uid of QEMU" $me "$(stat -c %u "/proc/$(as_user labctl -j ls instances 2>/dev/null |
	jq -r '.. | .pid? // empty' | head -n 1)")"
check_eq "links of the host" "$links" "$(ip -o link | wc -l)"
# to a file and back, with memory
uptime=$(as_user labctl exec lab/a -- cut -d. -f1 /proc/uptime)
as_user labctl golden lab
as_user labctl export lab --with-ram "$TEST_DIR/u/x.lab"
as_user labctl down lab
as_user labctl rm lab
as_user labctl import "$TEST_DIR/u/x.lab"
as_user labctl up lab
[ "$(as_user labctl exec lab/a -- cut -d. -f1 /proc/uptime)" -ge "$uptime" ] ||
	fail "the imported lab has booted"
as_user labctl down lab
check_eq "processes" "" "$(lab_world | grep ^process || true)"
