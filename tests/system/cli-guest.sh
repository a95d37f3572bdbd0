#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl with a real guest: exec, logs, console, actions, names, JSON
# TIMEOUT: 240
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt] }
YAML

# plan changes nothing, and what it prints is a lab file
labctl plan "$TEST_DIR/lab.yaml" >"$TEST_DIR/plan.yaml"
check_match "plan" "instance a: create" "$(cat "$TEST_DIR/plan.yaml")"
check_eq "labs after plan" "" "$(labctl -q ls)"
(cd "$TEST_DIR" && labctl up --detach -q >job && labctl wait "$(cat job)")
check_match "plan of what is up" "nothing" "$(labctl plan "$TEST_DIR/plan.yaml")"
check_match "plan by name" "nothing" "$(labctl plan lab)"

# exec: streams apart, exit codes, environment, input, arguments as they are
check_eq "stdout" out "$(labctl exec a -- sh -c 'echo out; echo err >&2' 2>"$TEST_DIR/err")"
check_eq "stderr" err "$(cat "$TEST_DIR/err")"
check_fails 42 "" labctl exec a -- sh -c 'exit 42'
# shellcheck disable=SC2016 # for the guest's shell
check_fails 143 "" labctl exec lab/a -- sh -c 'kill $$'
# shellcheck disable=SC2016
check_eq "environment" "x y=z" "$(labctl exec -e 'V=x y=z' a -- sh -c 'echo "$V"')"
check_eq "arguments" "<a b><><\$HOME><-n>" "$(labctl exec a -- printf '<%s>' 'a b' '' "\$HOME" -n)"
check_eq "without --" "<-l>" "$(labctl exec a printf '<%s>' -l)"
head -c 200000 /dev/urandom >"$TEST_DIR/bytes"
labctl exec -i a -- cat <"$TEST_DIR/bytes" >"$TEST_DIR/back"
cmp "$TEST_DIR/bytes" "$TEST_DIR/back" || fail "bytes changed on their way through the guest"
check_fails 1 "labctl: .*time" labctl exec --timeout 2 a -- sleep 60
check_fails 1 "labctl: .*no such program" labctl exec a -- nosuchprogram
check_fails 1 "labctl: .*nosuch" labctl exec nosuch -- true
check_eq "exec -j" '{"exit":3}' "$(labctl -j exec a -- sh -c 'exit 3' || true)"

# logs and console, with several readers and one that types
labctl logs a >"$TEST_DIR/log"
grep -q "login ready: a" "$TEST_DIR/log" || fail "logs lacks the boot: $(cat "$TEST_DIR/log")"
labctl exec a -- sh -c 'printf "one\ntwo\nthree\n" >/dev/console'
last_is_three() { [ "$(labctl logs a -n 1 | tr -d '\r')" = three ]; }
wait_for "the last line" 10 last_is_three
check_eq "last two lines" "two three" "$(labctl logs a -n 2 | tr -d '\r' | xargs)"
labctl logs a -f -n 1 >"$TEST_DIR/follow" &
follow=$!
labctl console a </dev/null >"$TEST_DIR/reader" &
reader=$!
mkfifo "$TEST_DIR/keys"
labctl console a <"$TEST_DIR/keys" >"$TEST_DIR/typist" &
typist=$!
exec 5>"$TEST_DIR/keys"
for f in follow reader typist; do
	wait_for "$f to begin" 20 test -s "$TEST_DIR/$f"
done
# shellcheck disable=SC2016
printf 'echo typed-$((6 * 7))\r' >&5
for f in follow reader typist; do
	wait_for "$f to see what was typed" 20 grep -q typed-42 "$TEST_DIR/$f"
done
check_match "first line of logs -f -n 1" "^(three|.*typed)" "$(head -n 1 "$TEST_DIR/follow" | tr -d '\r')"
exec 5>&-
kill $follow $reader $typist
wait $follow $reader $typist 2>/dev/null || true

# actions
labctl pause a
in_state a paused || fail "a is not paused"
check_fails 1 "labctl: " labctl pause nosuch a
labctl resume a
labctl kill lab/a
in_state a stopped || fail "a is not stopped after kill"
check_fails 1 "labctl: .*a" labctl exec a -- true
labctl start a
labctl reset a
labctl reset lab a
check_match "jobs" "reset +lab" "$(labctl jobs)"

# the objects of the API
for kind in labs images; do
	check_eq "$kind" "$(api GET /v1/$kind | jq -r '.[].name')" "$(labctl -j ls $kind | jq -r '.[].name')"
done
check_eq "instances" lab/a "$(labctl -q ls instances)"
check_eq "networks" lab/mgmt "$(labctl -q ls networks)"
check_eq "show -j" "$(inst a addr)" "$(labctl -j show a | jq -r .addr)"
check_match "show" "nics.eth0.network: mgmt" "$(labctl show lab/a)"
check_match "show a network" "cidr: 10.20.0.0/24" "$(labctl show network:mgmt)"
check_match "show a lab" "name: lab" "$(labctl show lab)"
check_fails 1 "there is no lab, no instance .* and no image 'x'" labctl show x
check_match "status" "a +running +10\.20\.0\.[0-9]+ +[0-9.]+ MiB" "$(labctl status)"
labctl -j events | jq -es 'map(.seq) | . == sort and length > 3' >/dev/null || fail "events -j"
labctl -j events -s "$(labctl -j events | tail -n 1 | jq .seq)" >"$TEST_DIR/none"
[ ! -s "$TEST_DIR/none" ] || fail "events since the last one: $(cat "$TEST_DIR/none")"

check_fails 1 "a" labctl rm lab/a
labctl down
labctl rm lab
check_eq "labs" "" "$(labctl -q ls)"
