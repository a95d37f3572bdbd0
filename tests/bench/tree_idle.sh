#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# the tree with BENCH_INSTANCES=50 running instances, when nothing happens: wake-ups and memory
# TIMEOUT: 1200
# IMAGES: tiny
# REQUIRES: root tun fuse dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
running "${BENCH_INSTANCES:-50}"
idle tree-
labctl down many --kill >/dev/null
