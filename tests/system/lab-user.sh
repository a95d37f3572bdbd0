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
chown -R $me:$me "$TEST_DIR/u"
chmod 755 "$TEST_CACHE"
as_user()
{
	setpriv --reuid=$me --regid=$me --clear-groups env HOME="$TEST_DIR/u" "$@"
}
export LABD_STATE=$TEST_DIR/u/s LABD_RUN=$TEST_DIR/u/r
as_user test -w /dev/net/tun || skip "/dev/net/tun is not for ordinary users here"

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24, uplink: none }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt], forward: { 18080: 80 } }
YAML
chmod 644 "$TEST_DIR/lab.yaml"
links=$(ip -o link | wc -l)
as_user labd >>"$TEST_DIR/labd.log" 2>&1 &
LABD_PID=$! # lib.sh stops it
answers() { as_user labctl --no-start version; }
wait_for "labd to answer" 10 answers
as_user labctl image build tiny
as_user labctl up "$TEST_DIR/lab.yaml"
check_eq "exec" a "$(as_user labctl exec lab/a -- hostname)"
check_eq "uid of QEMU" $me "$(stat -c %u "/proc/$(as_user labctl -j ls instances 2>/dev/null |
	jq -r '.. | .pid? // empty' | head -n 1)")"
check_eq "links of the host" "$links" "$(ip -o link | wc -l)"
as_user labctl down lab
check_eq "processes" "" "$(lab_world | grep ^process || true)"
