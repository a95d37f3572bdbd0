/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * keeper.h - labd's end of a lab's keeper
 *
 * DOC: Theory of Operation
 *
 * A keeper (program labkeeper) is one small process a lab that holds the lab's
 * namespaces - network and mount, and user when labd is not root - and does in
 * there what labd asks. It outlives labd: guests, their links, their recorded
 * consoles and the forwards go on while labd is away. The next labd connects
 * again to the same socket and asks for the state.
 *
 * One SOCK_SEQPACKET connection, one JSON object a request, one a reply, in
 * order; descriptors travel beside them (SCM_RIGHTS). A reply is
 * {"ok": ...} or {"error": "words", "errno": "ENOENT"}. Every operation is
 * idempotent: asking for what already is, succeeds; deleting what is not
 * there, succeeds. Several connections may be open at once.
 *
 * A socket belongs to the namespace it was made in. So a probe's connection
 * to a guest is made by the keeper and handed to labd, and a forward is a
 * listening socket made by labd on the host and handed to the keeper.
 *
 * All functions block, with @deadline on each request; call them from jobs.
 */
#ifndef NETNS_KEEPER_H
#define NETNS_KEEPER_H

#include "lib/err.h"

#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define KEEPER_MAX_MESSAGE (192 << 10)

/*
 * As root, the guests of lab N run with uid and gid KEEPER_UID_BASE + N. The
 * range begins behind the one systemd gives to containers (0x80000 to
 * 0x6fffffff) and stays below 2^31, where old software takes ids for negative
 * numbers; neither useradd nor subuid files reach it. The lab's dnsmasq has the
 * same number above KEEPER_DNS_UID_BASE, so that no guest may signal it.
 */
#define KEEPER_UID_BASE 0x70000000u
/* No lab has id 0: the group of all guests, which may read what snapshots have frozen */
#define KEEPER_GUESTS_GID KEEPER_UID_BASE
#define KEEPER_DNS_UID_BASE 0x78000000u
#define KEEPER_MAX_LAB_ID 0x07ffffffu

/**
 * struct keeper - a connection to a keeper; safe to share between threads
 * @sock:	SEQPACKET connection
 * @pid:	of the keeper
 * @lock:	one request at a time
 */
struct keeper {
	int sock;
	pid_t pid;
	pthread_mutex_t lock;
};

/**
 * struct keeper_config - what a keeper is started with
 * @lab_id:	names what must be unique on the host (veth, nft table)
 * @lab:	name, for the process title and messages
 * @exec_dir:	where labkeeper is
 * @run_dir:	the lab's run directory, exists; keeper.sock, dnsmasq files
 * @state_dir:	labd's state directory; guests may reach only it and @run_dir
 * @log:	path of the keeper's log (appended)
 */
struct keeper_config {
	unsigned int lab_id;
	const char *lab;
	const char *exec_dir;
	const char *run_dir;
	const char *state_dir;
	const char *log;
};

/**
 * keeper_start() - Start a keeper and wait until it answers
 * The keeper is in its own session and is not a child that must be reaped.
 *
 * Return: 0, or negative errno
 */
int keeper_start(const struct keeper_config *config, struct keeper **ret, struct lab_err *err);

/**
 * keeper_connect() - Connect to a running keeper
 * @run_dir:	as given to keeper_start()
 *
 * Return: 0, -ECONNREFUSED or -ENOENT if there is none, or negative errno
 */
int keeper_connect(const char *run_dir, struct keeper **ret, struct lab_err *err);

/** keeper_close() - Close the connection; the keeper goes on. Returns NULL */
struct keeper *keeper_close(struct keeper *k);

/**
 * keeper_shutdown() - End a keeper: its children (killed), links, sockets,
 * namespaces and what it made on the host; wait until it is gone
 *
 * Frees @k. Return: 0 or negative errno (it is gone in any case)
 */
int keeper_shutdown(struct keeper *k, struct lab_err *err);

/**
 * keeper_sweep() - Remove what a killed keeper left on the host
 * @lab_id:	whose; veth, nftables table
 * @run_dir:	its sockets
 *
 * Runs labkeeper, found as paths_find() says.
 *
 * Return: 0 or negative errno
 */
int keeper_sweep(unsigned int lab_id, const char *run_dir, struct lab_err *err);

/**
 * struct keeper_network - a segment
 * @name:	bridge is name_ifname(name)
 * @cidr:	"10.20.0.0/24"
 * @gateway:	the bridge's own address, "10.20.0.1"; dnsmasq answers there
 * @mtu:	bytes
 * @nat:	whether guests reach the outside through it
 * @dhcp:	whether dnsmasq serves leases
 * @domain:	DNS domain: names answer as NAME and NAME.DOMAIN
 */
struct keeper_network {
	const char *name, *cidr, *gateway, *domain;
	unsigned int mtu;
	bool nat, dhcp;
};

int keeper_network_add(struct keeper *k, const struct keeper_network *net, struct lab_err *err);
int keeper_network_del(struct keeper *k, const char *name, struct lab_err *err);

/**
 * struct keeper_nic - a tap on a network
 * @ifname:	name of the tap (name_ifname() applied), unique in the lab
 * @network:	name of its network
 * @mac:	the guest's address, for the fixed lease
 * @addr:	the guest's IPv4 address; "" without
 * @aliases:	more names that do, with blanks between; NULL for none
 * @host:	name that resolves to @addr; "" for none. The instance's name
 *		on its first nic, NAME-NIC on others
 * @tap:	of keeper_taps_add(): it becomes this nic, with its name, and its link is down until
 *		keeper_flush(); NULL for a new one
 */
struct keeper_nic {
	const char *ifname, *network, *mac, *addr, *host, *aliases, *tap;
};

/**
 * keeper_nics_add() - Make taps, put them on bridges, set leases and names
 * All or nothing. Many at once is one exchange with the kernel and one
 * reload of dnsmasq. Taps that were to become nics may be gone after a failure.
 */
int keeper_nics_add(struct keeper *k, const struct keeper_nic *nics, size_t n, struct lab_err *err);
int keeper_nics_del(struct keeper *k, const char *const *ifnames, size_t n, struct lab_err *err);

/**
 * keeper_taps_add() - Make taps that are on no network yet
 * For a program that is to take the place of one that runs: no packet comes to them. They are
 * removed by keeper_nics_del().
 */
int keeper_taps_add(struct keeper *k, const char *const *ifnames, size_t n, struct lab_err *err);

/** keeper_link_set() - Carrier of a nic on or off */
int keeper_link_set(struct keeper *k, const char *ifname, bool up, struct lab_err *err);

/**
 * keeper_flush() - Forget what an abandoned run of nics has left in the network
 * @ifnames:	of the @n nics whose guests go back to an earlier state
 *
 * Connections of forwards to their addresses are reset, the kernel's connection
 * tracking, neighbours and learned addresses of bridges are deleted, frames that wait
 * in their taps are thrown away. With all nics of the lab, everything that is tracked
 * goes. Forwards, links, leases and names stay. To be called while these guests stand
 * still: what one sends meanwhile may stay. Sockets of keeper_connect_tcp() are
 * their owner's to close, before.
 *
 * Return: 0, -ENOENT a nic is not there (nothing was done then), or negative errno
 */
int keeper_flush(struct keeper *k, const char *const *ifnames, size_t n, struct lab_err *err);

/**
 * keeper_clock_set() - Set the lab's time, which the keeper tells its guests by NTP
 * @offset_us:	microseconds that are added to the host's CLOCK_REALTIME, negative for
 *		a lab that is behind; 0 when the keeper starts
 *
 * It applies to the next answer. Guests that ask follow by slewing their clocks, as
 * slowly as they do that.
 *
 * Return: 0, -ERANGE for more than 50 years, or negative errno
 */
int keeper_clock_set(struct keeper *k, int64_t offset_us, struct lab_err *err);

/** keeper_clock_get() - What was set: 0 with *ret_offset_us, or negative errno */
int keeper_clock_get(struct keeper *k, int64_t *ret_offset_us, struct lab_err *err);

/**
 * struct keeper_spawn - a program to run inside the lab (QEMU)
 * @argv:	NULL-terminated, absolute argv[0]
 * @env:	NULL-terminated "NAME=value" beside PATH, LANG and TMPDIR; NULL: none
 * @fds:	descriptors the child gets as 3, 4, ...
 * @nics:	names of nics or taps; their descriptors follow behind @fds, in order
 * @log:	path its standard output and error are appended to; like all paths
 *		of the lab, in the state or run directory
 * @unprivileged: drop all capabilities, set no_new_privs and, as root,
 *		switch to the lab's own uid (keeper_uid())
 *
 * Standard input is /dev/null; it is in its own session.
 */
struct keeper_spawn {
	const char *const *argv, *const *env;
	const int *fds;
	size_t nfds;
	const char *const *nics;
	size_t nnics;
	const char *log;
	bool unprivileged;
};

/**
 * keeper_spawn() - Start a program in the lab
 * @ret_pid:	its pid as labd sees it
 * @ret_pidfd:	readable when it has ended; owned by the caller
 */
int keeper_spawn(struct keeper *k, const struct keeper_spawn *spawn, pid_t *ret_pid, int *ret_pidfd,
		 struct lab_err *err);

/**
 * keeper_freeze_file() - Let all guests of this machine's labs read a file, and nobody write it
 * As root it belongs to root and the group that guests of all labs are in.
 * Return: 0 or negative errno
 */
int keeper_freeze_file(const char *path);

/** keeper_give_file() - Let a guest alone, by its uid, read and write a file */
int keeper_give_file(const char *path, uid_t uid);

/**
 * keeper_uid() - The uid unprivileged children of a lab run with
 * Files they write must belong to it. Without root it is our own.
 */
uid_t keeper_uid(unsigned int lab_id);

/**
 * keeper_exit_status() - How a spawned program ended
 * Return: 1 with *ret_status as from waitpid(), 0 if it still runs,
 * -ESRCH if the keeper does not know it
 */
int keeper_exit_status(struct keeper *k, pid_t pid, int *ret_status, struct lab_err *err);

/**
 * keeper_connect_tcp() - A TCP socket from inside the lab
 * Return: a non-blocking socket whose connect() is under way, or negative
 * errno. Wait for POLLOUT and read SO_ERROR.
 */
int keeper_connect_tcp(struct keeper *k, const char *addr, uint16_t port, struct lab_err *err);

/**
 * keeper_capture() - A packet socket of a link in the lab
 * Return: as capture_open(), see there what to do with it
 */
int keeper_capture(struct keeper *k, const char *ifname, struct lab_err *err);

/**
 * keeper_forward_add() - Relay connections of a host socket into the lab
 * @id:		name of the forward, unique in the lab
 * @listener:	listening TCP socket of the host; stays open here too
 * @addr, @port: where to, inside the lab
 */
int keeper_forward_add(struct keeper *k, const char *id, int listener, const char *addr,
		       uint16_t port, struct lab_err *err);
int keeper_forward_del(struct keeper *k, const char *id, struct lab_err *err);

/**
 * keeper_console_add() - Record a guest's serial console
 * @id:		name, unique in the lab
 * @path:	QEMU's unix socket (chardev server); connected again if it
 *		breaks while the file is there
 * @listen:	path of a unix stream socket the keeper serves: everybody who
 *		connects gets the live console and may type
 * @log:	recorded here; at @max bytes it is renamed to log.1
 */
int keeper_console_add(struct keeper *k, const char *id, const char *path, const char *listen,
		       const char *log, uint64_t max, struct lab_err *err);
int keeper_console_del(struct keeper *k, const char *id, struct lab_err *err);

/**
 * keeper_state() - What the keeper holds
 * @ret:	new reference:
 *	"networks"	{name: {"bridge", "addr", "prefix", "gateway", "domain", "mtu",
 *			"nat", "dhcp", "nics": how many, "dnsmasq": "running" or why not}}
 *	"nics"		{ifname: {"network", "mac", "addr", "host", "up", "rx_bytes",
 *			"tx_bytes", "rx_packets", "tx_packets", "rx_dropped",
 *			"tx_dropped"}}, counted as the guest sees it
 *	"forwards"	{id: {"addr", "port", "connections": open now, "accepted",
 *			"refused", "bytes_in": into the lab, "bytes_out"}}
 *	"consoles"	{id: {"connected", "readers", "bytes", "lost"}}
 *	"children"	{"pid": {"name", "running", "status": once it has ended}}
 *	"uplink"	{"state": in words, "" without a network with nat}
 */
int keeper_state(struct keeper *k, json_t **ret, struct lab_err *err);

#endif
