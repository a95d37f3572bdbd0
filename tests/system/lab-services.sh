#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# services: started in the order of their needs, with their files; failures; a move; a golden
# TIMEOUT: 400
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"

# ---- a catalogue of three -------------------------------------------------------------

cp -r "$LABD_DATA" "$TEST_DIR/data"
export LABD_DATA=$TEST_DIR/data
S=$LABD_DATA/services
mkdir -p "$S"/{store,front,broken}/files/srv
cat >"$S/store/service.yaml" <<'YAML'
description: a web server with one file
memory: 40M
provides: { schemas: [x, y] }
ready: { http: ":81/", timeout: 60 }
YAML
cat >"$S/store/files/srv/index.html" <<'EOF'
store of {{lab}} on {{instance}} at {{addr}}{{#slow}} (slow){{/slow}}, secret {{secrets.store}}
EOF
cat >"$S/store/setup" <<'EOF'
echo once >>/srv/setup.log
EOF
cat >"$S/store/start" <<'EOF'
echo start >>/srv/start.log
httpd -p 81 -h /srv || true
EOF
echo 'echo gone >/srv/removed' >"$S/store/remove"
cat >"$S/front/service.yaml" <<'YAML'
needs: [store]
files: { /srv/front: { mode: 0640 } }
ready: { exec: [test, -s, /srv/copy] }
repair: [[touch, /srv/repaired]]
log: /srv/front.log
YAML
cat >"$S/front/files/srv/front" <<'EOF'
{{#services}}
{{name}} on {{instance}}:{{#schemas}} {{.}}{{/schemas}}
{{/services}}
EOF
# by the name that the service has, wherever it is
cat >"$S/front/start" <<'EOF'
wget -q -O /srv/copy http://store:81/
echo "copied" >>/srv/front.log
EOF
cat >"$S/front/check" <<'EOF'
grep -q "store of {{lab}}" /srv/copy && echo "front has a copy"
EOF
cat >"$S/broken/service.yaml" <<'YAML'
needs: [front]
ready: { tcp: 99, timeout: 3 }
log: /srv/broken.log
YAML
cat >"$S/broken/setup" <<'EOF'
echo "words of its log" >/srv/broken.log
EOF

need tiny

lab()
{
	cat >"$TEST_DIR/lab.yaml" <<YAML
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, services: [$1], memory: 128M, networks: [mgmt] }
  b: { image: tiny, services: [$2], memory: 128M, networks: [mgmt] }
YAML
}
service() { inst "$1" "service_states[] | select(.name == \"$2\") | .state"; }

# ---- up -------------------------------------------------------------------------------

# the first in the file needs the second
lab front store
labctl up --no-golden "$TEST_DIR/lab.yaml"
check_eq "state of front" ready "$(service a front)"
check_eq "state of store" ready "$(service b store)"
check_eq "ready of a" yes "$(inst a ready)"
check_match "what front copied" "store of lab on b at 10\.20\.0\.[0-9]+ \(slow\), secret [0-9a-f]{24}" \
	"$(guest a cat /srv/copy)"
check_eq "a list" "$(printf 'store on b: x y\nfront on a:')" "$(guest a cat /srv/front)"
check_eq "mode of a file" 640 "$(guest a stat -c %a /srv/front)"
check_eq "setups" once "$(guest b cat /srv/setup.log)"

mkdir "$TEST_DIR/mnt"
labctl mount "$TEST_DIR/mnt"
M=$TEST_DIR/mnt/labs/lab/services
check_eq "services in the tree" "front store" "$(cd "$M" && echo *)"
check_eq "store in the tree" "ready b yes" "$(cat "$M"/store/{state,instance,ready} | xargs)"
try_rm() { rm -r "$M/store"; }
check_fails 1 "resource busy" try_rm

# again changes nothing; after a boot it is started, but not set up
labctl up --no-golden "$TEST_DIR/lab.yaml"
check_eq "starts" start "$(guest b cat /srv/start.log)"
labctl stop lab/b
check_eq "state of store" stopped "$(service b store)"
labctl start lab/b
check_eq "setups" once "$(guest b cat /srv/setup.log)"
check_eq "starts" "start start" "$(guest b cat /srv/start.log | xargs)"

# a guest that boots again by itself gets them again
guest b sh -c 'sync; reboot -f' || true
again()
{
	[ "$(service b store) $(inst b job)" = "ready 0" ] &&
		[ "$(guest b cat /srv/start.log | xargs)" = "start start start" ]
}
wait_for "store after a reboot from inside" 120 again

# ---- a golden, and labd killed -----------------------------------------------------------

labctl golden lab
labctl reset lab
check_eq "state of front after a reset" ready "$(service a front)"
check_eq "repaired" "" "$(guest a test -e /srv/repaired)"
labctl up --no-golden "$TEST_DIR/lab.yaml"
check_eq "starts after a reset and another up" "start start start" "$(guest b cat /srv/start.log | xargs)"
labd_kill
labd_start

check_eq "state of store with another labd" ready "$(service b store)"

# ---- failures -----------------------------------------------------------------------------

lab front,broken store
check_fails 1 "service broken: .*tcp 99.*words of its log" labctl up --boot "$TEST_DIR/lab.yaml"
check_eq "state of broken" failed "$(service a broken)"
check_match "error of broken in the tree" "tcp 99" "$(cat "$M/broken/error")"
check_eq "ready of a" no "$(inst a ready)"
check_eq "state of front beside it" ready "$(service a front)"

# one that needs it is not told what it was before; what failed is not taken for what was there
sed -i 's/,broken//' "$TEST_DIR/lab.yaml"
echo 'exit 1 # é é é' >>"$S/store/start"
check_fails 1 "service store" labctl up --boot "$TEST_DIR/lab.yaml"
sed -i '$d' "$S/store/start"
labctl up --boot "$TEST_DIR/lab.yaml"
check_eq "states" "ready ready" "$(service a front) $(service b store)"
check_eq "error of b" "" "$(inst b error)"
printf 'printf "%%700s" | sed "s/ /é/g"; exit 1\n' >"$S/store/check"
check_fails 1 "service store on b" labctl check lab store
rm "$S/store/check"

sed -i 's/{{lab}}/{{lob}}/' "$S/store/files/srv/index.html"
check_fails 1 "services/store/files/srv/index.html:1: there is no lob" labctl up --boot "$TEST_DIR/lab.yaml"
sed -i 's/{{lob}}/{{lab}}/' "$S/store/files/srv/index.html"

# ---- a move: one word in the file ------------------------------------------------------------

lab front,store ""
labctl up --boot "$TEST_DIR/lab.yaml"
check_eq "removed where it was" gone "$(guest b cat /srv/removed)"
check_eq "its mark" "" "$(guest b ls /var/lib/lab/setup)"
check_match "store has moved" "store of lab on a" "$(guest a cat /srv/copy)"
check_match "its name, too" "$(inst a addr)" "$(guest b ping -c 1 store)"
check_eq "store has moved in the tree" a "$(cat "$M/store/instance")"
labctl check lab

# ---- logs --------------------------------------------------------------------------------------

check_fails 1 "service store has no log" labctl logs -s lab/store
printf 'one\ntwo \033[31m\n' >"$TEST_DIR/want"
guest a sh -c "printf 'one\ntwo \033[31m\n' >/srv/front.log"
labctl logs -s lab/front >"$TEST_DIR/got"
cmp "$TEST_DIR/want" "$TEST_DIR/got"
check_match "the last line" "^two" "$(labctl logs -s lab/front -n 1)"
# what acts on a terminal does not reach one
for command in "logs -s lab/front" "exec lab/a -- cat /srv/front.log" "exec lab/a -- sh -c 'cat /srv/front.log >&2'"; do
	TERM=dumb script -qec "labctl $command" "$TEST_DIR/typescript" </dev/null >"$TEST_DIR/seen"
	grep -q "two" "$TEST_DIR/seen" || fail "$command: nothing on the terminal: $(cat "$TEST_DIR/seen")"
	! grep -q $'\033' "$TEST_DIR/seen" || fail "$command: a control sequence on the terminal"
done

cmp "$TEST_DIR/want" "$M/front/log"
check_fails 1 "No data available" cat "$M/store/log"
check_match "why, in the tree" "service store has no log" "$(cat "$TEST_DIR/mnt/error")"
programs() { guest a sh -c 'ps | grep "[t]ail -c" | wc -l'; }
programs_are() { [ "$(programs)" = "$1" ]; }
wait_for "no program to read it any more" 20 programs_are 0
tail -c +1 -f "$M/front/log" >"$TEST_DIR/followed" &
follower=$!
wait_for "tail to follow" 20 cmp "$TEST_DIR/want" "$TEST_DIR/followed"
cmp "$TEST_DIR/want" "$M/front/log" # another reader of the same
wait_for "one program to read it" 20 programs_are 1
guest a sh -c "echo three >>/srv/front.log"
wait_for "what comes" 20 grep -q three "$TEST_DIR/followed"
check_fails 1 "Read-only file system" dd if=/dev/zero of="$M/front/log" count=1 conv=notrunc
# a log that begins anew
guest a sh -c "mv /srv/front.log /srv/old; echo four >/srv/front.log"
wait_for "the new log" 20 grep -q four "$TEST_DIR/followed"
kill $follower
wait $follower || true
wait_for "no program to read it any more" 20 programs_are 0
# an agent that is stopped: nobody else waits
guest a sh -c 'kill -STOP $(pidof qemu-ga)' &
stopper=$!
stopped() { ! timeout -k 1 3 labctl exec lab/a -- true; }
wait_for "the agent to be stopped" 60 stopped
cat "$M/front/log" >/dev/null 2>"$TEST_DIR/why" &
reader=$!
other() { [ "$(timeout 1 cat "$M/store/state")" = ready ]; }
other || fail "another file of the tree waits for the agent"
! wait $reader || fail "a guest without an agent gave its log"
grep -q "timed out" "$TEST_DIR/why" || fail "cat of the log: $(cat "$TEST_DIR/why")"
wait $stopper || true
labctl kill lab/a
wait_state a stopped
[ ! -e "$M/front/log" ] || fail "a log of a guest that does not run"
labctl start lab/a
check_eq "a log again" "$(labctl logs -s lab/front)" "$(cat "$M/front/log")"
check_match "a name in the lab's network" "store" "$(labctl run lab -- getent hosts store)"
check_fails 1 "lab lab has no service nothing" labctl check lab nothing
labctl umount "$TEST_DIR/mnt"

# the golden is of another lab now
labctl down lab
check_match "why the golden is not used" "services of instance a has changed" \
	"$(labctl up --no-golden lab 2>&1)"
labctl down lab
