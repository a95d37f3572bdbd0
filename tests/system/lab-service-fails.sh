#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# services that cannot be placed are refused with the place in the file; one that never gets ready is told of
# TIMEOUT: 400
# REQUIRES: root tun dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"

cp -r "$LABD_DATA" "$TEST_DIR/data"
export LABD_DATA=$TEST_DIR/data
S=$LABD_DATA/services
mkdir -p "$S"/{store,front,beside,big}/files
cat >"$S/store/service.yaml" <<'YAML'
ready: { http: ":81/cgi-bin/api", timeout: 3 }
log: /srv/store.log
units: [store.service]
YAML
# no guest of the tests has a systemd; this one says what one says of a unit that has failed
mkdir -p "$S/store/files/usr/sbin"
cat >"$S/store/files/usr/sbin/systemctl" <<'EOF'
#!/bin/sh
case "$1 $3" in
is-active*) exit 3 ;;
*ActiveState) echo failed ;;
*Result) echo exit-code ;;
esac
EOF
chmod +x "$S/store/files/usr/sbin/systemctl"
mkdir -p "$S/store/files/srv/cgi-bin"
# busybox has its own words for each of these
printf '#!/bin/sh\ncat /srv/answer\n' >"$S/store/files/srv/cgi-bin/api"
chmod +x "$S/store/files/srv/cgi-bin/api"
cat >"$S/store/start" <<'EOF'
echo "the words of its log" >/srv/store.log
httpd -p 81 -h /srv
EOF
printf 'HTTP/1.0 500 Broken\r\n\r\n' >"$S/store/files/srv/answer"
printf 'needs: [store]\nready: { exec: [test, -d, /] }\n' >"$S/front/service.yaml"
printf 'ready: { exec: [test, -d, /] }\n' >"$S/beside/service.yaml"
printf 'memory: 1G\n' >"$S/big/service.yaml"
need tiny
cd "$TEST_DIR"

# lab A B [MEMORY]: services of two machines
lab()
{
	cat >lab.yaml <<YAML
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
instances:
  a: { image: tiny, services: [$1], memory: 128M, networks: [mgmt] }
  b: { image: tiny, services: [$2], memory: ${3:-128M}, networks: [mgmt] }
YAML
}

# refused WORDS: by plan and by up, and nothing was made
refused()
{
	check_fails 1 "$1" labctl plan lab.yaml
	check_fails 1 "$1" labctl up lab.yaml
	check_eq "labs" 0 "$(api GET /v1/labs | jq length)"
}

lab front storr
refused "lab.yaml:6:32: there is no service 'storr'; did you mean 'store'\?"
lab front beside
refused "lab.yaml:5:31: instance 'a' needs service 'store', which no instance of this lab carries"
lab store store
refused "lab.yaml:6:31: instance 'b' has service 'store', which instance 'a' has already"
lab store,store beside
refused "lab.yaml:5:38: service 'store' is given twice"
# the memory of the lab file is the machine's: it is counted where the system is the services' own
sed -i 's/image: tiny, //; s/store,store/big/' lab.yaml
refused "lab.yaml:5:33: instance 'a' has 128 MiB, but its services and the system need 1\.[0-9]+ GiB"
lab front store
echo 'memroy: 4M' >>"$S/store/service.yaml"
refused "lab.yaml:6:32: service store: .*services/store/service.yaml:4:1: unknown key 'memroy'"
sed -i '$d' "$S/store/service.yaml"

# ---- one that does not get ready -------------------------------------------------------------------

# fails WORDS: `up` with words of what was asked, where, the log, and who waits for it
fails()
{
	local text status=0
	! api GET /v1/labs/lab >/dev/null 2>&1 || labctl down -q --kill lab
	text=$(labctl up --boot --no-golden lab.yaml 2>&1) || status=$?
	check_eq "status of up" 1 $status
	check_match "what is told of store" "instance b: service store: [^
]*http :81/cgi-bin/api[^
]*$1" "$text"
	check_match "its unit" "store.service: failed \(exit-code\)" "$text"
	check_match "the end of its log" "the words of its log" "$text"
	check_match "who waits for it" "instance a: service front: not started, because it needs store on b" "$text"
	check_eq "states" "beside ready, front failed, store failed" "$(api GET /v1/labs/lab/services |
		jq -r 'sort_by(.name) | map(.name + " " + .state) | join(", ")')"
	check_eq "the state of the lab" degraded "$(api GET /v1/labs/lab | jq -r .state)"
}

lab front,beside store
fails "500"
# never
echo 'kill -STOP $(pidof httpd)' >>"$S/store/start"
fails "connected, but no whole reply"
# nobody there
sed -i '/httpd/d' "$S/store/start"
fails "refused"
# its start fails: with its words
echo 'echo "no such database" >&2; exit 3' >>"$S/store/start"
labctl down -q lab
check_fails 1 "instance b: service store: .*exit status 3.*no such database|the words of its log" \
	labctl up --boot --no-golden lab.yaml
# mended, it comes up as it is, without a boot; front is started then, too
sed -i '/exit 3/d' "$S/store/start"
echo 'httpd -p 81 -h /srv' >>"$S/store/start"
printf 'HTTP/1.0 200 Good\r\nContent-Type: text/plain\r\n\r\nx' >"$S/store/files/srv/answer"
booted=$(inst b started)
labctl up --no-golden lab.yaml
check_eq "states" "ready ready ready" "$(api GET /v1/labs/lab/services | jq -r '.[].state' | xargs)"
check_eq "started" "$booted" "$(inst b started)"
check_eq "error of b" "" "$(inst b error)"
labctl down lab

# ---- the machine ends while several of its services are waited for -----------------------------------

for name in one two three; do
	mkdir -p "$S/$name"
	printf 'ready: { exec: ["false"], timeout: 120 }\n' >"$S/$name/service.yaml"
done
sed -i 's/services: \[front,beside\]/services: [one,two,three]/; s/services: \[store\], memory: 128M/memory: 128M/' lab.yaml
labd_before=$LABD_PID
labctl up --boot --no-golden lab.yaml >up.log 2>&1 &
up=$!
all_wait()
{
	[ "$(api GET /v1/jobs | jq -r '[.[0].items[] | select(.step == "wait for exec false")] | length')" = 3 ]
}
wait_for "three services to be waited for" 60 all_wait
kill -9 "$(inst a pid)"
status=0
wait $up || status=$?
check_eq "status of up" 1 $status
check_match "words" "instance a: QEMU ended while booting \(signal 9\)" "$(cat up.log)"
alive "$labd_before" || fail "labd has died of it"
wait_state a failed
check_eq "b" running "$(inst b state)"
labctl rm -y lab
