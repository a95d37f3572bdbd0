#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# services through snapshots, reset, suspend, clone, export; a reboot that no labd saw; marks of stopped machines
# TIMEOUT: 400
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"

cp -r "$LABD_DATA" "$TEST_DIR/data"
export LABD_DATA=$TEST_DIR/data
S=$LABD_DATA/services
mkdir -p "$S"/{store,front}/files/srv
cat >"$S/store/service.yaml" <<'YAML'
ready: { http: ":81/", timeout: 20 }
repair: [[sh, -c, "echo repaired >>/srv/repair.log"]]
YAML
echo 'secret {{secrets.store}}' >"$S/store/files/srv/index.html"
cat >"$S/store/start" <<'EOF'
echo start >>/srv/start.log
httpd -p 81 -h /srv
EOF
cat >"$S/front/service.yaml" <<'YAML'
needs: [store]
ready: { exec: [wget, -q, -O, /srv/copy, "http://store:81/"], timeout: 20 }
YAML
echo '{{at.store}}' >"$S/front/files/srv/front"

need tiny
cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, services: [front], memory: 128M, networks: [mgmt] }
  b: { image: tiny, services: [store], memory: 128M, networks: [mgmt] }
YAML

# states [LAB]: of front and store
states()
{
	api GET "/v1/labs/${1:-lab}/services" | jq -r 'sort_by(.name)[].state' | xargs
}
states_are() { [ "$(states)" = "$1" ]; }
starts() { guest b cat /srv/start.log | wc -l; }
repairs() { guest "$1" sh -c 'cat /srv/repair.log 2>/dev/null | wc -l'; }
secret() { guest "$1" cat /srv/index.html; }

labctl up --no-golden "$TEST_DIR/lab.yaml"
check_eq "states" "ready ready" "$(states)"
SECRET=$(secret b)

# ---- snapshot, golden, suspend ----------------------------------------------------------------

labctl snapshot create lab good
guest a rm /srv/copy
labctl snapshot restore lab good
check_eq "states after a restore" "ready ready" "$(states)"
check_match "what only the probe makes, since it was asked again" "secret" "$(guest a cat /srv/copy)"
check_eq "repairs of a restore" 1 "$(repairs b)"
check_eq "starts after a restore" 1 "$(starts)"

# one that does not answer any more in the state that is restored is not ready
guest b killall httpd
labctl snapshot create lab bad
check_fails 1 "service store" labctl snapshot restore lab bad
check_eq "state of what a restore brought back dead" failed "$(states | cut -d' ' -f2)"
check_eq "ready of b" no "$(inst b ready)"
labctl snapshot restore lab good
check_eq "states after a better restore" "ready ready" "$(states)"

labctl golden lab
labctl reset lab
check_eq "states after a reset" "ready ready" "$(states)"
labctl suspend lab
check_eq "states of a suspended lab" "stopped stopped" "$(states)"
labctl up lab
check_eq "states after suspend and up" "ready ready" "$(states)"
check_eq "starts" 1 "$(starts)"
check_eq "the secret" "$SECRET" "$(secret b)"
labctl down lab
labctl up lab
check_eq "states of a lab from its golden" "ready ready" "$(states)"
check_eq "starts" 1 "$(starts)"

# ---- another lab of it -------------------------------------------------------------------------

labctl clone lab two
check_eq "states of a clone" "ready ready" "$(states two)"
check_eq "repairs of a clone" $(($(repairs b) + 1)) "$(repairs two/b)"
check_eq "its secret is that of the memory it came from" "$SECRET" "$(secret two/b)"
labctl reset --boot two
check_eq "states of a clone that has booted" "ready ready" "$(states two)"
check_eq "it keeps the secret: passwords on its disks are made from it" "$SECRET" "$(secret two/b)"
labctl rm -y two

labctl export lab --with-ram "$TEST_DIR/lab.labd"
labctl import "$TEST_DIR/lab.labd" three
labctl up three
check_eq "states of an imported lab" "ready ready" "$(states three)"
check_eq "its secret" "$SECRET" "$(secret three/b)"
labctl rm -y three

# ---- a reboot that nobody saw ---------------------------------------------------------------------

# by QEMU itself, while no labd runs
reset_unseen()
{
	local qmp
	qmp=$(inst b qmp)
	guest b sync # a reset loses what is not on the disk: the count of its starts
	labd_kill
	python3 - "$qmp" <<'EOF'
import socket, sys, time
def call(f, command):
    f.write('{"execute": "%s"}\n' % command)
    f.flush()
    while "return" not in f.readline():
        pass
def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[1])
    f = s.makefile("rw")
    f.readline()
    call(f, "qmp_capabilities")
    return f
end = time.monotonic() + 10
while True: # QEMU may have to notice first that labd has gone
    try:
        f = connect()
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.1)
call(f, "system_reset")
EOF
	labd_start
}

boot_id() { guest b cat /proc/sys/kernel/random/boot_id; }
before=$(boot_id)
labd_kill
labd_start
check_eq "states with another labd" "ready ready" "$(states)"
reset_unseen
again() { states_are "ready ready" && [ "$(inst b job)" = 0 ] && [ "$(starts)" = 2 ]; }
wait_for "store after a reboot that no labd saw" 120 again
[ "$before" != "$(boot_id)" ] || fail "it has not booted"
wait_for "b to be ready" 30 eval '[ "$(inst b ready)" = yes ]'
# an up that comes before labd has noticed does not say that all is well
reset_unseen
labctl up lab
check_eq "starts after an up" 3 "$(starts)"
check_eq "states after it" "ready ready" "$(states)"

# ---- marks of machines that do not run ---------------------------------------------------------------

labctl stop lab/b
check_eq "states beside a stopped machine" "ready stopped" "$(states)"
check_match "the same in a list" "store +b +stopped" "$(labctl status lab)"
kill -9 "$(inst a pid)"
wait_for "a to be known as dead" 20 states_are "stopped stopped"
# labd dies while front waits for store, which does not start
echo 'while :; do read -r _ </dev/zero; done' >>"$S/store/start"
labctl up --boot --detach lab
wait_for "store to start" 60 states_are "waiting starting"
labctl -q kill lab/b
wait_for "the up to fail" 60 eval '[ "$(api GET /v1/labs/lab | jq .job)" = 0 ]'
check_eq "the state of one whose machine was killed" stopped "$(states | cut -d' ' -f2)"
labd_kill
labd_start
check_eq "and with another labd" stopped "$(states | cut -d' ' -f2)"
labctl down lab
check_eq "states of a lab that is down" "stopped stopped" "$(states)"
