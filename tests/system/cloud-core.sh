#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cloud-core.sh - the cloud's core from nothing: built, up, a server that answers, and back
# SLOW
# TIMEOUT: 7200
# REQUIRES: root tun dnsmasq curl jq openstack ssh-keygen
# HOSTNET: packages come from the host's mirror
. "${SRCDIR:-.}/tests/lib.sh"
ROUNDS=20
labd_start

labctl up "$LABD_DATA/labs/core.yaml"
say "all services are ready"
labctl check core
labctl test --out "$TEST_DIR/steps" "$SRCDIR/stack/tests/core.yaml"
say "the cloud works"

# ---- a running server, a guest in a guest, comes back with the rest

eval "$(labctl env core)"
labctl snapshot restore core served
TOKEN=$(openstack token issue -f value -c id)
NOVA=$(openstack endpoint list --service nova --interface public -f value -c URL)
NEUTRON=$(openstack endpoint list --service neutron --interface public -f value -c URL)
FLOATING=$(openstack floating ip list -f value -c "Floating IP Address")
labctl golden core

# cloud URL: of one of its APIs, with the token of before the golden
cloud()
{
	curl -sS --fail-with-body --max-time 5 -H "X-Auth-Token: $TOKEN" "$1"
}

all_up()
{
	cloud "$NOVA/os-services" | jq -e '.services | length == 3 and all(.state == "up")' &&
		cloud "$NEUTRON/v2.0/agents" | jq -e '.agents | length > 1 and all(.alive)' &&
		cloud "$NOVA/servers/detail" | jq -e '.servers | map(.status) == ["ACTIVE"]'
}

answers()
{
	[ "$(labctl run core -- curl -s --max-time 5 "http://$FLOATING/")" = first ]
}

wait_for "all to be up before" 60 all_up
for ((i = 1; i <= ROUNDS; i++)); do
	labctl reset core >/dev/null
	wait_for "reset $i: services and agents to be up" 5 all_up
	wait_for "reset $i: the server to answer" 30 answers
	# what was up minutes ago by the host's clock was so just now by the lab's
	[ $i != 10 ] || pause 180
done

# ---- the queue is restarted: all find it again

guest core/controller systemctl restart rabbitmq-server
wait_for "services and agents to be up without the old queue" 300 all_up
labctl check core

# ---- the compute node is lost while the server runs on it

compute_is()
{
	[ "$(cloud "$NOVA/os-services?binary=nova-compute" | jq -r '.services[].state')" = "$1" ]
}

kill -9 "$(inst core/compute1 pid)"
wait_state core/compute1 failed
wait_for "the cloud to tell that it is down" 60 compute_is down
labctl up core
wait_for "services and agents to be up again" 120 all_up
wait_for "the server to answer again" 900 answers
check_eq "state" up "$(api GET /v1/labs/core | jq -r .state)"
labctl down core
