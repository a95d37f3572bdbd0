#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# lab files that are wrong: refused with file, line and column, and nothing changed
# TIMEOUT: 120
# REQUIRES: root curl jq
. "${SRCDIR:-.}/tests/lib.sh"
labd_start
before=$(api GET /v1/model | jq -S '{labs, images}')

# bad WHAT REGEX: the file on standard input
bad()
{
	local f=$TEST_DIR/bad.yaml cmd
	cat >"$f"
	for cmd in plan up; do
		check_fails 1 "bad\\.yaml:[0-9]+:[0-9]+: .*($2)" timeout 20 labctl $cmd "$f"
	done
	say "$1"
}

bad "not YAML" "" <<'Y'
lab: x
instances: { a: [
Y
bad "a key that is not known, with the nearest one" "memory" <<'Y'
lab: x
networks: { n: { cidr: 10.0.0.0/24 } }
instances:
  a: { image: tiny, memroy: 128M, networks: [n] }
Y
bad "a name twice" "twice|duplicate|already" <<'Y'
lab: x
instances:
  a: { image: tiny }
  a: { image: tiny }
Y
bad "a cycle in needs" "cycle|circle|each other" <<'Y'
lab: x
instances:
  a: { image: tiny, needs: [b] }
  b: { image: tiny, needs: [a] }
Y
bad "networks that overlap" "overlap" <<'Y'
lab: x
networks:
  n: { cidr: 10.0.0.0/16 }
  m: { cidr: 10.0.1.0/24 }
instances:
  a: { image: tiny, networks: [n] }
Y
bad "a network that is not there" "mgmt" <<'Y'
lab: x
networks: { mgmt: { cidr: 10.0.0.0/24 } }
instances:
  a: { image: tiny, networks: [mgnt] }
Y
for name in 'a/b' '..' '"a\nb"' '-rf' '""' "$(printf 'x%.0s' {1..49})"; do
	bad "the name $name" "name|letters" <<Y
lab: x
instances:
  $name: { image: tiny }
Y
done
bad "a size that is none" "memory|size" <<'Y'
lab: x
instances:
  a: { image: tiny, memory: 128Q }
Y
bad "a size out of range" "memory|size|range" <<'Y'
lab: x
instances:
  a: { image: tiny, memory: 99999999999T }
Y

{ echo "lab: x"; echo "instances:"; seq -f '  i%.0f: { image: tiny }' 1 100000; } >"$TEST_DIR/many.yaml"
check_fails 1 "many\\.yaml|instances|large|long|KiB" timeout 20 labctl plan "$TEST_DIR/many.yaml"
{ echo "lab: x"; echo "instances:"; seq -f '  i%.0f: {image: tiny}' 1 3000; } >"$TEST_DIR/many.yaml"
check_fails 1 "250|instances" timeout 20 labctl plan "$TEST_DIR/many.yaml"
{ printf 'lab: '; printf '[%.0s' {1..20000}; } >"$TEST_DIR/deep.yaml"
check_fails 1 "deep\\.yaml" timeout 20 labctl plan "$TEST_DIR/deep.yaml"
{ echo 'a: &a [x,x,x,x,x,x,x,x,x,x]'; for n in b c d e f g h i; do
	p=$(echo $n | tr b-i a-h)
	echo "$n: &$n [*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p,*$p]"
done; } >"$TEST_DIR/laughs.yaml"
check_fails 1 "laughs\\.yaml" timeout 20 labctl plan "$TEST_DIR/laughs.yaml"

# all mistakes at once
cat >"$TEST_DIR/three.yaml" <<'Y'
lab: x
networks: { n: { cidr: 10.0.0.0/99 } }
instances:
  a: { image: tiny, memroy: 1G }
  b: { image: tiny, needs: [nobody] }
Y
lines=$(labctl plan "$TEST_DIR/three.yaml" 2>&1 | grep -c 'three\.yaml:[0-9]*:[0-9]*:' || true)
[ "$lines" -ge 3 ] || fail "expected three mistakes at once, got $lines"

cat >"$TEST_DIR/image.yaml" <<'Y'
lab: x
instances:
  a: { image: no-such-image }
Y
check_fails 1 "no-such-image" labctl up "$TEST_DIR/image.yaml"
check_fails 1 "no such file|No such file|not.*exist|cannot" labctl plan "$TEST_DIR/nowhere.yaml"
check_eq "the model afterwards" "$before" "$(api GET /v1/model | jq -S '{labs, images}')"
