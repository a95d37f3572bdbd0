#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl test with a real guest: every kind of step, failures, deadlines, Ctrl-C
# TIMEOUT: 240
# REQUIRES: root tun dnsmasq curl jq script
. "${SRCDIR:-.}/tests/lib.sh"
need tiny
cd "$TEST_DIR"

cat >lab.yaml <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  web-1: { image: tiny, memory: 128M, networks: [mgmt], forward: { 18080: 8080 } }
YAML

# run STATUS NAME ARGUMENT...: labctl test NAME.yaml, from standard input if it is not there; the report in NAME.tap
run()
{
	local want=$1 name=$2 status=0
	shift 2
	[ -e "$name.yaml" ] || cat >"$name.yaml"
	labctl test "./$name.yaml" "$@" >"$name.tap" 2>"$name.err" || status=$?
	[ "$status" = "$want" ] || fail "$name: expected exit status $want, got $status: $(cat "$name.tap" "$name.err")"
	[ ! -s "$name.err" ] || fail "$name: $(cat "$name.err")"
	check_eq "head of $name" "TAP version 14" "$(head -n 1 "$name.tap")"
	check_eq "points of $name" "$(sed -n 's/^1\.\.//p' "$name.tap")" "$(grep -Ec '^(not )?ok [0-9]+ - ' "$name.tap")"
}
# tells NAME LINE: the report has a line
tells() { grep -qE -- "$2" "$1.tap" || fail "$1 does not tell '$2': $(cat "$1.tap")"; }

# all kinds, and variables on their way through them; a step brings the lab up
run 0 kinds <<'YAML'
lab: lab
vars: { PAGE: 'a"b $(x)' }
steps:
  - name: the lab is up
    run: 'test -z "$LAB_FORWARD_WEB_1_8080" && labctl up ./lab.yaml && labctl status'
    deadline: 2m
    expect: { stdout: "web-1 +running" }
  - name: it serves
    exec:
      on: web-1
      run: 'mkdir -p /tmp/www; printf "{\"page\": [{\"n\": 5}]}" >/tmp/www/json; printf "%s" "$PAGE" >/tmp/www/page; httpd -p 8080 -h /tmp/www'
    save: NOTHING
  - name: it listens
    wait: { on: lab/web-1, for: [{ agent: true }, { tcp: 8080 }, { http: ":8080/page" }] }
  - name: json through the lab
    http: { on: web-1, url: ":8080/json", headers: { X-A: "${NOTHING}" } }
    expect: { status: 200, body: "page", json: { "page[0].n": 5 }, headers: { content-length: "^20$" }, not: { json: { "page[1]": null } } }
    save: { N: { json: "page[0].n" }, LENGTH: { header: Content-Length }, KEY: { match: '"(p[a-z]*)"' } }
  - name: a page through the forward
    http: "http://${LAB_FORWARD_WEB_1_8080}/${KEY}"
    expect: { contains: "${PAGE}", body: "^${PAGE}$" }
    save: BODY
  - name: "words # without a shell"
    run: [printf, "%s|", "${BODY}", "$${N}", "${N}${LENGTH}"]
    expect: { stdout: '^a"b \$\(x\)\|\$.N.\|520\|$' }
  - name: variables in a guest
    exec: { on: web-1, run: 'echo "$BODY-$LAB-"' }
    expect: { contains: "${PAGE}--" }
  - name: not there
    http: { on: web-1, url: ":8080/nothing" }
    expect: { status: [404], not: { status: 200 } }
  - name: exit status
    exec: { on: web-1, run: [sh, -c, "echo why >&2; exit 7"] }
    expect: { status: 7, stderr: why, stdout: "^$" }
  - name: the console since the boot
    wait: { on: web-1, for: { console: "login ready: web-1" } }
  - name: says something again and again
    run: 'until [ -e "$LAB_TEST_DIR/heard" ]; do labctl exec web-1 -- sh -c "echo marker=5 >/dev/console"; done >/dev/null 2>&1 &'
  - name: the console from now on
    wait: { on: web-1, for: { console: "^marker=${N}" }, since: now }
  - name: heard
    run: 'touch "$LAB_TEST_DIR/heard"'
  - name: nothing to do
    run: "false"
    skip-if: "true"
YAML
tells kinds '^ok 6 - words \\# without a shell$'
tells kinds '^ok 14 - nothing to do # SKIP'
tells kinds '^# 13 passed, 0 failed, 1 skipped'
not grep -q "logs:" kinds.tap || fail "a good run keeps logs nobody asked for"
check_eq "directories left" "" "$(find "$TMPDIR" -name 'labctl-test.*')"

# what fails is told, with logs, the lab and its consoles; what hangs on it is skipped; always steps are not
run 1 fails --out "$TEST_DIR/out" <<'YAML'
lab: lab
deadline: 20s
steps:
  - name: speaks
    exec: { on: web-1, run: "echo on-the-console >/dev/console; printf 'one\\n\\033[31mtwo'; exit 3" }
    expect: { stdout: three }
    save: X
  - name: not reached
    run: "touch reached"
  - name: cleans up
    always: true
    run: [echo, clean]
  - name: has nothing to clean
    always: true
    run: [echo, "${X}"]
YAML
tells fails '^not ok 1 - speaks$'
tells fails '^    expected status 0, found 3$'
tells fails "^    expected stdout to match 'three'$"
tells fails '^    two$'
tells fails "^ok 2 - not reached # SKIP 'speaks' failed"
tells fails '^ok 3 - cleans up$'
tells fails "^ok 4 - has nothing to clean # SKIP needs 'speaks'"
tells fails "^# logs: $TEST_DIR/out$"
[ ! -e reached ] || fail "a step after a failure was done"
check_eq "mode of logs" "700 600" "$(stat -c %a out out/01-speaks.log | xargs)"
check_match "log" $'step: speaks.*status: 3.*one\n\033\\[31mtwo' "$(cat out/01-speaks.log)"
grep -q "on-the-console" out/01-speaks.lab/web-1.console || fail "the console was not kept: $(ls -R out)"
check_eq "kept state" running "$(jq -r '.instances[0].state' out/01-speaks.lab/lab.json)"

# deadlines of each kind; retries; --keep-going; no server
start=$SECONDS
run 1 late --keep-going <<'YAML'
lab: lab
deadline: 2s
steps:
  - { name: program, run: "trap 'echo got TERM' TERM; sleep 60 & wait || :; echo out" }
  - { name: guest, exec: { on: web-1, run: [sleep, 60] } }
  - { name: probe, wait: { on: web-1, for: { tcp: 81 } } }
  - { name: line, wait: { on: web-1, for: { console: login ready }, since: now } }
  - { name: again, run: "echo x >>count; false", retry: { every: 1s }, deadline: 3s }
  - { name: refused, http: { on: web-1, url: ":81/" }, retry: { every: 1s } }
  - { name: comes late, run: 'test -e once || { touch once; exit 1; }', retry: { every: 1s }, deadline: 20s }
  - { name: no variable, run: ["true"], save: { V: { match: x } } }
  - { name: hangs on it, run: [echo, "${V}"] }
YAML
[ $((SECONDS - start)) -lt 60 ] || fail "deadlines do not hold: $((SECONDS - start)) s"
tells late '^not ok 1 - program'
tells late '^    got TERM'
tells late 'waited for tcp 81, 2 s'
tells late 'no line of the console matched'
tells late 'not within 3 s, in [23] tries: expected status 0, found 1'
tells late 'connecting to lab/web-1 port 81: Connection refused'
tells late '^ok 7 - comes late'
tells late "nothing matches 'x'"
tells late "^ok 9 - hangs on it # SKIP needs 'no variable'"
check_match "tries" "^[23]$" "$(wc -l <count)"
rm -r "$(sed -n 's/^# logs: //p' late.tap)"

# some steps only: what they need comes with them; --from goes on with saved variables
cat >some.yaml <<'YAML'
lab: lab
steps:
  - { name: makes, run: [echo, made], save: V }
  - { name: other, run: "false" }
  - { name: uses, run: [echo, "${V}"], expect: { stdout: made } }
  - { name: tidy, always: true, run: [echo, "tidy ${V}"] }
  - { name: last, run: "true" }
YAML
run 0 some --only 'us.s' --out out2
check_eq "steps" "makes uses tidy" "$(sed -n 's/^ok [0-9]* - //p' some.tap | xargs)"
run 0 some --from uses --out out2
check_eq "steps" "uses tidy last" "$(sed -n 's/^ok [0-9]* - //p' some.tap | xargs)"
run 1 some --from uses
tells some "the variable V has no value"
rm -r "$(sed -n 's/^# logs: //p' some.tap)"
check_eq "--list" "makes other uses tidy last" "$(labctl -q test --list ./some.yaml | xargs)"
check_eq "--list -j" 5 "$(labctl -j test -l ./some.yaml | jq -s length)"
check_eq "--only with what cleans up" "other" "$(labctl -q test -l -o other ./some.yaml | xargs)"
check_fails 2 "has no step 'none'" labctl test --from none ./some.yaml
check_eq "-q" other "$(labctl -q test ./some.yaml || true)"
check_eq "-j" "passed failed skipped passed skipped" "$(labctl -j test ./some.yaml | jq -r .state | xargs || true)"
rm -rf "${TMPDIR:?}"/labctl-test.*

# several files are subtests
run 1 kinds ./some.yaml --only '^(other|not there)$' --out out3
tells kinds "^# Subtest: ./kinds.yaml"
tells kinds "^    not ok 1 - other"
tells kinds "^not ok 2 - ./some.yaml"

# the call that waits: problems of its probes, and what it says meanwhile
wait=/v1/labs/lab/instances/web-1/wait
check_fails 22 "needs .*ready" api POST $wait '{}'
check_fails 22 "did you mean 'tcp'" api POST $wait '{"ready": [{"tpc": 80}]}'
check_fails 22 "boot.* or .*now" api POST $wait '{"ready": [{"tcp": 80}], "since": "noon"}'
check_eq "answer of wait" '{"step":"guest agent"}{"step":"tcp 8080"}{"ready":true}' \
	"$(api POST $wait '{"ready": [{"agent": true}, {"tcp": 8080}]}' | tr -d '\n')"

# what is wrong with files is told at once, and nothing is done
printf 'steps:\n  - { name: a, run: "touch touched", dedline: 5 }\n  - { name: b, run: ["${X}"] }\n' >bad.yaml
check_fails 2 "./bad.yaml:2:38: unknown key 'dedline'.*./bad.yaml:3:22: no earlier step" labctl test lab ./bad.yaml
[ ! -e touched ] || fail "a step of a file that is wrong was done"
check_fails 2 "No such file" labctl test lab ./none.yaml
check_fails 2 "test file is missing" labctl test lab
printf 'steps:\n  - { name: a, exec: { on: nosuch, run: "true" } }\n' >other.yaml
check_fails 1 "nosuch" labctl test lab ./other.yaml
check_fails 1 "no lab nosuch|there is no lab" labctl test nosuch ./other.yaml
rm -rf "${TMPDIR:?}"/labctl-test.*

# labd dies under a step: its log and the console are kept all the same, and cleaning up works
run 1 dies --out out4 <<'YAML'
lab: lab
steps:
  - name: labd dies
    exec: { on: web-1, run: "echo here; sleep 60" }
    skip-if: '(until labctl exec "$LAB/web-1" -- pidof sleep; do sleep 0.1; done; kill -9 "$(cat "$LABD_STATE/lock")") >/dev/null 2>&1 & false'
  - { name: cleans up, always: true, exec: { on: web-1, run: "true" } }
YAML
tells dies '^not ok 1 - labd dies'
tells dies '^ok 2 - cleans up'
grep -q "login ready" out4/01-labd-dies.lab/web-1.console || fail "the console was not kept"
kill "$(cat "$LABD_STATE/lock")" # that one is not of this test's shell
wait_for "labd to end" 10 not labctl --no-start status
wait "$LABD_PID" || true
labd_start

# Ctrl-C on a terminal: the group of the step ends, always steps are done, progress was shown
cat >stop.yaml <<'YAML'
lab: lab
steps:
  - { name: sleeps, run: 'echo $$ >pid; sleep 300 & wait' }
  - { name: not reached, run: "touch reached" }
  - { name: cleans up, always: true, run: "touch cleaned" }
YAML
mkfifo keys
env --default-signal=INT TERM=xterm script -qefc "stty rows 20 cols 60; labctl test ./stop.yaml" screen <keys >/dev/null &
terminal=$!
exec 5>keys
shows() { tr '\r' '\n' <screen | grep -q -- "$1"; }
wait_for "a line of progress" 20 shows "# 1 of 3: [3-9] s of at most 1 min 0 s: sleeps"
group=$(cat pid)
printf '\003' >&5
status=0
timeout 30 tail --pid=$terminal -f /dev/null || fail "Ctrl-C does not end it"
wait $terminal || status=$?
exec 5>&-
check_eq "exit code after Ctrl-C" 130 $status
shows "message: \"interrupted\"" || fail "it does not tell that it was interrupted"
shows "ok 2 - not reached # SKIP interrupted" || fail "the next step was not skipped"
[ -e cleaned ] || fail "the always step was not done"
[ ! -e reached ] || fail "a step after Ctrl-C was done"
# the number is the shell's, which led the group; init may take a moment to reap what was killed
wait_for "the step's group to be gone" 10 not pgrep -g "$group"

labctl rm --yes lab
