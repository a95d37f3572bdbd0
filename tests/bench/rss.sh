#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# memory of labd and labfs with 20 running instances, and what they do when
# nothing happens: how often any of their threads woke in 10 s
# TIMEOUT: 900
# IMAGES: tiny
# REQUIRES: root tun fuse dnsmasq curl jq
. "${SRCDIR:-.}/tests/lib.sh"
. "$SRCDIR/tests/lib/bench.sh"
running 20
idle ""
figure labd-rss "$(rss "$LABD_PID")" 20 MiB 1
labctl down many
