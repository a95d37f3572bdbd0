#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# labctl capture: what tcpdump reads while it grows; filters, several readers, ends, what is left
# TIMEOUT: 120
# REQUIRES: root tun dnsmasq curl jq tcpdump
. "${SRCDIR:-.}/tests/lib.sh"
need tiny
cd "$TEST_DIR"
cat >lab.yaml <<'YAML'
lab: lab
networks:
  mgmt: { cidr: 10.20.0.0/24 }
  data: { cidr: 10.21.0.0/24 }
instances:
  a: { image: tiny, memory: 128M, networks: [mgmt, data] }
  b: { image: tiny, memory: 128M, networks: [mgmt, data] }
YAML
labctl up -q -G lab.yaml
b=$(inst b addr) b2=$(inst b 'nics[1].addr')

captures() { api GET /v1/captures | jq length; }
captures_are() { [ "$(captures)" = "$1" ]; }
fds() { find "/proc/$LABD_PID/fd" -printf '%l\n' | grep -c socket; }
has() { grep -Eq "$2" "$1"; }
before=$(fds)

# live, through a pipe; another nic, a filter and a file at the same time
labctl capture lab/a | tcpdump -lnr - icmp >live 2>tcpdump.err &
live=$!
labctl capture lab/a/eth1 -w eth1.pcap 2>eth1.err &
eth1=$!
labctl capture lab/a -w tcp.pcap tcp port 80 2>tcp.err &
tcp=$!
wait_for "three captures" 10 captures_are 3
guest a ping -c 2 "$b" >/dev/null
wait_for "what was sent to be told while it runs" 10 has live "> $b: ICMP echo request"
wait_for "and the answer" 10 has live "$b > .*: ICMP echo reply"
guest a ping -c 1 "$b2" >/dev/null
guest a wget -q -O - "http://$b/" >/dev/null
check_eq "kept for later" 2 "$(tcpdump -nr eth1.pcap icmp 2>/dev/null | wc -l)"
wait_for "the file to have the connection" 10 eval 'tcpdump -nr tcp.pcap 2>/dev/null | grep -q "$b.80"'
check_eq "nothing else passes the filter" "" "$(tcpdump -nr tcp.pcap not tcp port 80 2>/dev/null)"
check_match "times are now" "^$(date +%Y)-" "$(tcpdump -tttt -nr tcp.pcap 2>/dev/null | head -n 1)"

# ends: by Ctrl-C with counts, when nobody reads any more, and nothing is left
kill -INT $eth1 $tcp
wait $eth1 || fail "capture after Ctrl-C: $(cat eth1.err)"
wait $tcp
check_match "counts" "^[0-9]+ packets, 0 dropped$" "$(cat eth1.err)"
kill $live # tcpdump: labctl has to see that its pipe is gone
wait $live || true
wait_for "the capture to end with its reader" 10 captures_are 0
check_eq "sockets of labd" "$before" "$(fds)"

# a client that reads nothing: memory stays bounded, what does not fit is counted
mkfifo slow
labctl capture lab/a/eth1 >slow &
pid=$!
exec 7<slow
wait_for "the capture" 10 captures_are 1
rss=$(api GET /v1/status | jq .rss)
guest b sh -c 'head -c 40000000 /dev/zero >/run/www/big'
guest a wget -q -O /dev/null "http://$b2/big"
dropping() { api GET /v1/captures | jq -e '.[0].dropped > 0'; }
wait_for "drops to be counted" 20 dropping
more=$(($(api GET /v1/status | jq .rss) - rss))
[ $more -lt 4000000 ] || fail "labd took $more bytes more"
exec 7<&-
wait_for "it to end" 10 captures_are 0
wait $pid || true

# it ends with the guest, and with labd
labctl capture lab/a -w gone.pcap 2>/dev/null &
pid=$!
wait_for "the capture" 10 captures_are 1
labctl kill a
wait $pid || true
captures_are 0 || wait_for "it to end" 5 captures_are 0
tcpdump -nr gone.pcap >/dev/null 2>&1 || fail "a capture whose guest ended is no file"
labctl capture lab/b -w gone.pcap 2>/dev/null &
pid=$!
wait_for "the capture" 10 captures_are 1
labd_stop
wait $pid || true
labd_start

check_fails 1 "does not run: labctl start lab/a" labctl capture lab/a
check_fails 1 "has no nic eth7" labctl capture lab/b/eth7
check_fails 1 "filter 'nonsense here'" labctl capture lab/b nonsense here
check_fails 1 "No such file or directory" labctl capture lab/b -w /no/such/file
check_fails 2 "missing" labctl capture
labctl down -k
