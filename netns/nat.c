// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * nat.c - packet filters and address translation (libnftables), inside and on the host
 *
 * DOC: Theory of Operation
 *
 * In the lab (table inet lab): the keeper's namespace is the gateway of every
 * network, so it could route between all of them. The chains refuse by default;
 * four sets say what is open, and adding a network only adds elements:
 *
 *	gateway	{bridge, address}: a guest reaches the gateway's address of its own
 *		network, for DNS, time and ping, and no other network's
 *	inside	{bridge}: all of them, where clients may ask for a lease
 *	pair	{bridge, bridge}: frames of one bridge, which pass the forward chain
 *		only where the host has loaded br_netfilter
 *	open	{bridge}: networks with nat, which may leave by the uplink
 *
 * Addresses are translated twice: labs may all use the same ones, so the lab
 * hides its own behind its end of the uplink, and the host knows only that.
 *
 * On the host (table ip labd-ID): hides the lab behind the host's addresses, and
 * lets nothing new in towards the lab. Where the host's forwarding was off, the
 * empty table labd-forwarding remembers that we switched it on. It
 * lives as long as the setting itself, whatever is killed; the last lab to leave
 * takes both away. A lock on the sysctl's file orders labs that come and go.
 *
 * nftables asks every table, so another firewall of the host may still drop what
 * ours accepts. The common one is the FORWARD chain of iptables with the policy
 * drop, which Docker and ufw set: there two rules are added that let this lab
 * pass. They carry the lab's name as a comment, by which they are removed.
 */
#define _GNU_SOURCE
#include "netns/nat.h"

#include "lib/names.h"
#include "lib/util.h"
#include "netns/lab.h"
#include "netns/network.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <nftables/libnftables.h>
#include <string.h>
#include <sys/file.h>

#define HOST_TABLE "labd-"
#define FORWARDING_TABLE "labd-forwarding"
#define IPTABLES_CHAIN "ip filter FORWARD"

static const char lab_rules[] =
	"table inet lab {\n"
	"	set gateway { type ifname . ipv4_addr; }\n"
	"	set inside { type ifname; }\n"
	"	set pair { type ifname . ifname; }\n"
	"	set open { type ifname; }\n"
	"	chain input {\n"
	"		type filter hook input priority filter; policy drop;\n"
	"		iifname \"lo\" accept\n"
	"		ct state established,related accept\n"
	"		iifname @inside udp dport 67 accept\n"
	"		iifname . ip daddr @gateway meta l4proto { tcp, udp } th dport 53 accept\n"
	"		iifname . ip daddr @gateway udp dport 123 accept\n"
	"		iifname . ip daddr @gateway icmp type echo-request accept\n"
	"		iifname . ip daddr @gateway meta l4proto tcp reject with tcp reset\n"
	"		iifname . ip daddr @gateway reject\n"
	"	}\n"
	"	chain forward {\n"
	"		type filter hook forward priority filter; policy drop;\n"
	"		ct state established,related accept\n"
	"		iifname . oifname @pair accept\n"
	"		iifname @open oifname \"" LAB_UPLINK "\" accept\n"
	"		iifname @inside reject with icmpx admin-prohibited\n"
	"	}\n"
	"	chain postrouting {\n"
	"		type nat hook postrouting priority srcnat;\n"
	"		oifname \"" LAB_UPLINK "\" masquerade\n"
	"	}\n"
	"}\n";

static void cleanup_nft(struct nft_ctx **ctx)
{
	if (*ctx)
		nft_ctx_free(*ctx);
}

#define autonft __attribute__((cleanup(cleanup_nft)))

/* A context for the current network namespace: its socket is made here */
static struct nft_ctx *new_context(void)
{
	struct nft_ctx *ctx = nft_ctx_new(NFT_CTX_DEFAULT);

	if (ctx && (nft_ctx_buffer_error(ctx) || nft_ctx_buffer_output(ctx))) {
		nft_ctx_free(ctx);
		return NULL;
	}
	return ctx;
}

/**
 * run_in() - Apply one transaction
 * @ctx:	of the namespace that is meant; NULL if it could not be made
 * @ret_out:	what it printed, malloced; may be NULL
 */
static int run_in(struct nft_ctx *ctx, const char *rules, char **ret_out, struct lab_err *err)
{
	const char *words;

	if (!ctx)
		return lab_fail(err, -ENOMEM, "nftables: out of memory");
	if (nft_run_cmd_from_buffer(ctx, rules)) {
		words = nft_ctx_get_error_buffer(ctx);
		return lab_fail(err, -EIO, "nftables: %.*s", (int)strcspn(words, "\n"), words);
	}
	if (ret_out) {
		*ret_out = strdup(nft_ctx_get_output_buffer(ctx));
		if (!*ret_out)
			return lab_fail(err, -ENOMEM, "nftables: out of memory");
	}
	return 0;
}

/* The same in the current namespace, for what is done once: the host's side */
static int run_rules(const char *rules, char **ret_out, struct lab_err *err)
{
	autonft struct nft_ctx *ctx = new_context();

	return run_in(ctx, rules, ret_out, err);
}

int nat_lab_start(struct lab *lab, struct lab_err *err)
{
	/* kept: closing its socket takes the kernel some 10 ms */
	lab->nft = new_context();
	return run_in(lab->nft, lab_rules, NULL, err);
}

void nat_lab_end(struct lab *lab)
{
	cleanup_nft(&lab->nft);
	lab->nft = NULL;
}

/* The set elements of a network; @verb is "add" or "delete" */
static int network_elements(const struct lab *lab, const char *verb, const struct network *net,
			    struct lab_err *err)
{
	char rules[1024], gateway[INET_ADDRSTRLEN], open[128] = "";
	const char *b = net->bridge;

	inet_ntop(AF_INET, &net->gateway, gateway, sizeof(gateway));
	if (net->nat)
		snprintf(open, sizeof(open), "%s element inet lab open { \"%s\" }\n", verb, b);
	snprintf(rules, sizeof(rules),
		 "%s element inet lab gateway { \"%s\" . %s }\n"
		 "%s element inet lab inside { \"%s\" }\n"
		 "%s element inet lab pair { \"%s\" . \"%s\" }\n%s",
		 verb, b, gateway, verb, b, verb, b, b, open);
	return run_in(lab->nft, rules, NULL, err);
}

int nat_network_add(const struct lab *lab, const struct network *net, struct lab_err *err)
{
	int r = network_elements(lab, "add", net, err);

	return lab_wrap(err, r, "network %s", net->name);
}

void nat_network_del(const struct lab *lab, const struct network *net)
{
	(void)network_elements(lab, "delete", net, NULL);
}

/* Names of tables of the host that are ours; one a line as "table ip NAME" */
static int host_tables(char **ret, struct lab_err *err)
{
	return run_rules("list tables ip\n", ret, err);
}

static bool has_table(const char *tables, const char *name)
{
	char line[64];
	const char *at;
	size_t n = (size_t)snprintf(line, sizeof(line), "table ip %s", name);

	for (at = tables; (at = strstr(at, line)); at += n)
		if (at[n] == '\n' || !at[n])
			return true;
	return false;
}

/* Whether a lab - a table labd-NUMBER - is there */
static bool has_lab(const char *tables)
{
	static const char prefix[] = "table ip " HOST_TABLE;

	for (const char *at = tables; (at = strstr(at, prefix)); at += sizeof(prefix) - 1)
		if (isdigit((unsigned char)at[sizeof(prefix) - 1]))
			return true;
	return false;
}

/* Let a lab pass where the host's iptables drop by default */
static int open_iptables(unsigned int lab_id, const char *ifname, struct lab_err *err)
{
	autofree char *chain = NULL;
	char rules[512];

	/* most hosts have no such chain */
	if (run_rules("list chain " IPTABLES_CHAIN "\n", &chain, NULL) < 0 || !chain ||
	    !strstr(chain, "policy drop"))
		return 0;
	snprintf(rules, sizeof(rules),
		 "insert rule " IPTABLES_CHAIN " iifname \"%s\" accept comment \"" HOST_TABLE
		 "%u\"\n"
		 "insert rule " IPTABLES_CHAIN " oifname \"%s\" ct state established,related "
		 "accept comment \"" HOST_TABLE "%u\"\n",
		 ifname, lab_id, ifname, lab_id);
	return run_rules(rules, NULL, err);
}

/* Delete the rules of a chain that carry a lab's comment; a line is a rule */
static int delete_marked(char *chain, const char *mark, struct lab_err *err)
{
	static const char handle[] = "# handle ";
	char rule[96], *save = NULL;
	int r = 0;

	for (char *line = strtok_r(chain, "\n", &save); line && !r;
	     line = strtok_r(NULL, "\n", &save)) {
		const char *at = strstr(line, handle);

		if (!at || !strstr(line, mark))
			continue;
		snprintf(rule, sizeof(rule), "delete rule " IPTABLES_CHAIN " handle %.20s\n",
			 at + sizeof(handle) - 1);
		r = run_rules(rule, NULL, err);
	}
	return r;
}

static int close_iptables(unsigned int lab_id, struct lab_err *err)
{
	autonft struct nft_ctx *ctx = new_context();
	autofree char *chain = NULL;
	char mark[48];

	if (ctx)
		nft_ctx_output_set_flags(ctx, NFT_CTX_OUTPUT_HANDLE);
	if (run_in(ctx, "list chain " IPTABLES_CHAIN "\n", &chain, NULL) < 0)
		return 0;
	snprintf(mark, sizeof(mark), "comment \"" HOST_TABLE "%u\"", lab_id);
	return chain ? delete_marked(chain, mark, err) : 0;
}

static void unlock_file(const int *fd)
{
	flock(*fd, LOCK_UN);
}

/* Hold the lock on the host's forwarding until the end of the block */
#define LOCK_FORWARDING(fd)                                                                        \
	int locked_fd __attribute__((cleanup(unlock_file), unused)) = (fd);                        \
	RETRY(flock(locked_fd, LOCK_EX))

/* Switch the host's forwarding on, and note that it was us */
static int switch_on(int fd, struct lab_err *err)
{
	char now = '1';
	int r;

	if (pread(fd, &now, 1, 0) != 1)
		return lab_fail_errno(err, -errno, "cannot read the host's ip_forward");
	if (now != '0')
		return 0;
	r = run_rules("add table ip " FORWARDING_TABLE "\n", NULL, err);
	if (r < 0)
		return r;
	if (pwrite(fd, "1", 1, 0) != 1)
		return lab_fail_errno(err, -errno, "cannot switch the host's ip_forward on");
	return 0;
}

int nat_host_add(unsigned int lab_id, const char *ifname, struct in_addr peer, int forward_fd,
		 struct lab_err *err)
{
	char rules[1024], addr[INET_ADDRSTRLEN];
	int r;

	inet_ntop(AF_INET, &peer, addr, sizeof(addr));
	/* a table that an earlier keeper left is replaced, not added to */
	snprintf(rules, sizeof(rules),
		 "add table ip " HOST_TABLE "%u\ndelete table ip " HOST_TABLE "%u\n"
		 "table ip " HOST_TABLE "%u {\n"
		 "	chain forward {\n"
		 "		type filter hook forward priority filter;\n"
		 "		oifname \"%s\" ct state established,related accept\n"
		 "		oifname \"%s\" drop\n"
		 "		iifname \"%s\" ip saddr != %s drop\n"
		 "	}\n"
		 "	chain postrouting {\n"
		 "		type nat hook postrouting priority srcnat;\n"
		 "		ip saddr %s oifname != \"%s\" masquerade\n"
		 "	}\n"
		 "}\n",
		 lab_id, lab_id, lab_id, ifname, ifname, ifname, addr, addr, ifname);
	LOCK_FORWARDING(forward_fd);
	r = close_iptables(lab_id, err);
	if (!r)
		r = run_rules(rules, NULL, err);
	if (!r)
		r = open_iptables(lab_id, ifname, err);
	if (!r)
		r = switch_on(forward_fd, err);
	return r;
}

int nat_host_del(unsigned int lab_id, int forward_fd, struct lab_err *err)
{
	autofree char *tables = NULL, *left = NULL;
	char name[32], rules[64];
	int r, removed = 0;

	snprintf(name, sizeof(name), HOST_TABLE "%u", lab_id);
	snprintf(rules, sizeof(rules), "delete table ip %s\n", name);
	LOCK_FORWARDING(forward_fd);
	r = host_tables(&tables, err);
	if (tables && has_table(tables, name)) {
		r = run_rules(rules, NULL, err);
		removed = 1;
	}
	if (!r)
		r = close_iptables(lab_id, err);
	if (!r)
		r = host_tables(&left, err);
	if (!left)
		return r;
	if (!has_lab(left) && has_table(left, FORWARDING_TABLE)) {
		if (pwrite(forward_fd, "0", 1, 0) != 1)
			return lab_fail_errno(err, -errno,
					      "cannot switch the host's ip_forward off again");
		r = run_rules("delete table ip " FORWARDING_TABLE "\n", NULL, err);
	}
	return r < 0 ? r : removed;
}
