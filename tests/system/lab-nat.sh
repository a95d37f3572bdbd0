#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# guests reach the outside through NAT if their network says so, and only then
# TIMEOUT: 180
# REQUIRES: root tun dnsmasq curl jq nft
. "${SRCDIR:-.}/tests/lib.sh"
need tiny

# An outside of our own: it knows no way back to the lab's addresses
ip netns add outside
on_exit ip netns del outside
ip link add up0 type veth peer name out0 netns outside
ip addr add 198.51.100.1/24 dev up0
ip link set up0 up
ip -n outside addr add 198.51.100.2/24 dev out0
ip -n outside link set out0 up
ip route add default via 198.51.100.2
before=$(lab_world)

cat >"$TEST_DIR/lab.yaml" <<'YAML'
lab: lab
networks:
  open: { cidr: 10.20.0.0/24, uplink: nat }
  shut: { cidr: 10.20.1.0/24, uplink: none }
instances:
  a: { image: tiny, memory: 128M, networks: [open] }
  b: { image: tiny, memory: 128M, networks: [shut] }
YAML
labctl up "$TEST_DIR/lab.yaml"
check_match "a reaches the outside" "1 packets received" "$(guest a ping -c 1 -W 5 198.51.100.2)"
status=0
guest b ping -c 1 -W 2 198.51.100.2 || status=$?
[ $status != 0 ] || fail "b reaches the outside through a network without uplink"
labctl rm lab
check_eq "world after" "$before" "$(lab_world)"
