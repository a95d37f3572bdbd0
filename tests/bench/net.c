// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * net.c - how long the network of 20 instances with 3 nics each takes, up and down
 *
 * TIMEOUT: 120
 * REQUIRES: root tun dnsmasq ip
 *
 * The peer does the same with ip in a shell script: a namespace, three bridges
 * with their addresses, sixty taps on them; and without it again. Ours has a
 * dnsmasq a network and leases and names besides. Both are measured in turn in
 * one run; a figure is the median.
 */
#define _GNU_SOURCE
#include "lib/num.h"
#include "lib/util.h"
#include "tests/lib/nettest.h"

#include <stdlib.h>
#include <string.h>

#define INSTANCES 20
#define NICS 3
#define ROUNDS 7

static struct nt_lab lab;

static const char peer_up[] =
	"ip netns add bench; n=0;"
	"for b in mgmt data ext; do "
	"ip -n bench link add $b type bridge forward_delay 0 stp_state 0;"
	"ip -n bench addr add 10.20.$n.1/24 dev $b; ip -n bench link set $b up; n=$((n+1));"
	"i=0; while [ $i -lt 20 ]; do "
	"ip netns exec bench ip tuntap add i$i-$b mode tap;"
	"ip -n bench link set i$i-$b master $b up; i=$((i+1)); done; done";

static const char peer_down[] = "for b in mgmt data ext; do "
				"i=0; while [ $i -lt 20 ]; do "
				"ip -n bench link del i$i-$b; i=$((i+1)); done;"
				"ip -n bench link del $b; done; ip netns del bench";

static double since(uint64_t start)
{
	return (double)(num_now_us() - start) / 1e3;
}

static double time_peer(const char *script)
{
	uint64_t start = num_now_us();

	NT_CHECK(system(script) == 0, "the peer's script failed");
	return since(start);
}

static const char *const networks[NICS] = { "mgmt", "data", "ext" };
static char text[INSTANCES * NICS][4][32];

/* As labd does: networks one by one, all nics at once */
static double time_up(void)
{
	struct keeper_nic nics[INSTANCES * NICS];
	struct lab_err err = LAB_ERR_INIT;
	uint64_t start = num_now_us();

	for (int i = 0; i < NICS; i++) {
		char cidr[32], gateway[32];

		snprintf(cidr, sizeof(cidr), "10.20.%d.0/24", i);
		snprintf(gateway, sizeof(gateway), "10.20.%d.1", i);
		nt_network(&lab, networks[i], cidr, gateway, false);
	}
	for (int i = 0; i < INSTANCES * NICS; i++) {
		snprintf(text[i][0], 32, "i%d-%s", i / NICS, networks[i % NICS]);
		snprintf(text[i][1], 32, "52:54:00:00:%02x:%02x", i % NICS, i / NICS);
		snprintf(text[i][2], 32, "10.20.%d.%d", i % NICS, 10 + i / NICS);
		snprintf(text[i][3], 32, "host%d", i);
		nics[i] = (struct keeper_nic){ text[i][0], networks[i % NICS], text[i][1],
					       text[i][2], text[i][3],	       NULL,
					       NULL };
	}
	NT_OK(keeper_nics_add(lab.k, nics, ARRAY_SIZE(nics), &err));
	return since(start);
}

static double time_down(void)
{
	struct lab_err err = LAB_ERR_INIT;
	const char *names[INSTANCES * NICS];
	uint64_t start = num_now_us();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		names[i] = text[i][0];
	NT_OK(keeper_nics_del(lab.k, names, ARRAY_SIZE(names), &err));
	for (int i = 0; i < NICS; i++)
		NT_OK(keeper_network_del(lab.k, networks[i], &err));
	return since(start);
}

static int compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), compare);
	return v[ROUNDS / 2];
}

static void figure(const char *name, double *ours, double *peer, double bar)
{
	double o = median(ours), p = median(peer);

	printf("figure %s ours=%.1f peer=ip-script:%.1f ratio=%.3f bar=%.0f unit=ms n=%d %s\n",
	       name, o, p, o / p, bar, ROUNDS, o <= bar ? "ok" : "short");
}

int main(int argc, char **argv)
{
	double up[ROUNDS], down[ROUNDS], shutdown[ROUNDS], peer[2][ROUNDS];

	nt_main(argc, argv);
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start;

		nt_start(&lab, 7);
		up[i] = time_up();
		down[i] = time_down();
		(void)time_up();
		start = num_now_us();
		nt_shutdown(&lab);
		shutdown[i] = since(start);
		peer[0][i] = time_peer(peer_up);
		peer[1][i] = time_peer(peer_down);
	}
	figure("net-up-60-nics", up, peer[0], 100);
	figure("net-down-60-nics", down, peer[1], 200);
	figure("net-shutdown-60-nics", shutdown, peer[1], 200);
	return 0;
}
