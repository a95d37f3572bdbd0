#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# the console: always recorded, several readers, bounded however much is written
# TIMEOUT: 300
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
labctl up "$TEST_DIR/lab.yaml"
labctl logs lab/a >"$TEST_DIR/logs.txt"
grep -q "login ready: a" "$TEST_DIR/logs.txt" || fail "the boot is not on the record of the console"

url=http://labd/v1/labs/lab/instances/a/console
curl -sN --unix-socket "$LABD_RUN/labd.sock" "$url?follow=1&tail=0" >"$TEST_DIR/r1.txt" &
r1=$!
curl -sN --unix-socket "$LABD_RUN/labd.sock" "$url?follow=1&tail=0" >"$TEST_DIR/r2.txt" &
r2=$!
said() { guest a sh -c 'echo to-all >/dev/console' && grep -q to-all "$1"; }
wait_for "the first reader" 10 said "$TEST_DIR/r1.txt"
wait_for "the second reader" 10 said "$TEST_DIR/r2.txt"
kill $r1
said_again() { guest a sh -c 'echo once-more >/dev/console' && grep -q once-more "$TEST_DIR/r2.txt"; }
wait_for "the second reader without the first" 10 said_again
kill $r2
wait $r1 $r2 2>/dev/null || true

# a guest that writes for ever costs a bounded file
log=$(inst a console_log)
guest a sh -c 'yes flood | head -c 5000000 >/dev/console; echo end-of-flood >/dev/console'
flood_ended() { grep -q end-of-flood "$log"; }
wait_for "the flood to be recorded" 120 flood_ended
size=$(cat "$log"* | wc -c)
say "console.log and what was rotated: $size bytes"
[ "$size" -le $((9 << 20)) ] || fail "the console's record grows without bound: $size bytes"
check_eq "a answers" a "$(guest a hostname)"
labctl down lab
