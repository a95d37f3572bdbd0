#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# cloud-core.sh - the cloud's core from nothing: built, up, a server that answers, and back
# SLOW
# TIMEOUT: 7200
# REQUIRES: root tun dnsmasq curl jq openstack ssh-keygen
# HOSTNET: packages come from the host's mirror
. "${SRCDIR:-.}/tests/lib.sh"
labd_start

labctl up "$LABD_DATA/labs/core.yaml"
say "all services are ready"
labctl check core
labctl test --out "$TEST_DIR/steps" "$SRCDIR/stack/tests/core.yaml"
say "the cloud works"

# back in seconds, with all services and agents up, again and again
for i in 1 2 3; do
	labctl reset core
	labctl check core
	say "reset $i"
done
check_eq "state" up "$(api GET /v1/labs/core | jq -r .state)"
labctl down core
