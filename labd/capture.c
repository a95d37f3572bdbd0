// SPDX-License-Identifier: GPL-2.0-or-later
/* capture.c - what goes through a nic, as a pcap file that grows */
#define _GNU_SOURCE
#include "labd/capture.h"

#include "labd/api.h"
#include "labd/stream_impl.h"
#include "lib/log.h"
#include "lib/util.h"

#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <pcap/pcap.h>
#include <string.h>
#include <sys/socket.h>

#define SNAPLEN 65535
#define HEADER 24 /* of the file */
#define PIECE_PACKETS 256
#define PIECE_BYTES (256 << 10)

/**
 * struct capture - a reader's
 * @sock:	of the nic's tap
 * @pcap:	libpcap's handle of a file of this kind
 * @ready:	tells once when there are packets; the event loop makes it
 * @packets, @dropped: since it began
 */
struct capture {
	struct stream s;
	LIST_ENTRY(capture) link;
	char lab[NAME_MAX_LEN + 1], instance[NAME_MAX_LEN + 1], nic[NAME_MAX_LEN + 1], id[64];
	int sock;
	pcap_t *pcap;
	sd_event_source *ready;
	uint64_t packets, dropped;
	unsigned char buf[SNAPLEN];
};

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *arg)
{
	(void)source, (void)fd, (void)revents;
	api_wake_followers(arg);
	return 0;
}

/* Called first in the event loop, to which the source and the list belong */
static int begin(struct capture *c)
{
	struct labd *d = c->s.d;

	LIST_INSERT_HEAD(&d->captures, c, link);
	if (sd_event_add_io(d->event, &c->ready, c->sock, EPOLLIN, on_ready, d) < 0)
		return -1;
	(void)sd_event_source_set_enabled(c->ready, SD_EVENT_OFF);
	return 0;
}

/* The kernel counts from one question to the next */
static void count_drops(struct capture *c)
{
	struct tpacket_stats stats = { 0 };
	socklen_t len = sizeof(stats);

	if (!getsockopt(c->sock, SOL_PACKET, PACKET_STATISTICS, &stats, &len))
		c->dropped += stats.tp_drops;
}

static void time_of(struct msghdr *msg, struct timeval *ret)
{
	struct timespec ts = { 0 };

	for (struct cmsghdr *cm = CMSG_FIRSTHDR(msg); cm; cm = CMSG_NXTHDR(msg, cm))
		if (cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SCM_TIMESTAMPNS)
			memcpy(&ts, CMSG_DATA(cm), sizeof(ts));
	ret->tv_sec = ts.tv_sec;
	ret->tv_usec = ts.tv_nsec / 1000;
}

/* Take one packet: 1, 0 if there is none, -1 if there will be none any more */
static int next_packet(struct capture *c, struct pcap_pkthdr *h)
{
	char control[256];
	struct iovec iov = { .iov_base = c->buf, .iov_len = sizeof(c->buf) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = RETRY(recvmsg(c->sock, &msg, MSG_DONTWAIT | MSG_TRUNC));

	if (n < 0)
		return errno == EAGAIN || errno == ENOBUFS ? 0 : -1;
	time_of(&msg, &h->ts);
	h->len = (bpf_u_int32)n;
	h->caplen = MIN(h->len, (bpf_u_int32)sizeof(c->buf));
	c->packets++;
	return 1;
}

/* Write what is there as a file; 1 if there was something, or as next_packet() */
static int dump(struct capture *c, FILE *f)
{
	pcap_dumper_t *dumper = pcap_dump_fopen(c->pcap, f);
	size_t bytes = 0;
	int r = 1, got = 0;

	if (!dumper) {
		fclose(f);
		return -1;
	}
	while (got < PIECE_PACKETS && bytes < PIECE_BYTES) {
		struct pcap_pkthdr h = { 0 };

		r = next_packet(c, &h);
		if (r <= 0)
			break;
		pcap_dump((unsigned char *)dumper, &h, c->buf);
		bytes += h.caplen;
		got++;
	}
	pcap_dump_close(dumper); /* closes f */
	return got ? 1 : r;
}

static int fill_capture(struct stream *s)
{
	struct capture *c = container_of(s, struct capture, s);
	bool first = !c->ready;
	FILE *f;
	int r;

	if (first && begin(c) < 0)
		return -1;
	f = open_memstream(&s->pending, &s->len);
	if (!f)
		return -1;
	r = dump(c, f);
	if (first) /* the header, whatever is behind it */
		return s->len >= HEADER ? 1 : -1;
	s->at = HEADER;
	if (r > 0)
		return 1;
	s->at = s->len;
	if (!r)
		(void)sd_event_source_set_enabled(c->ready, SD_EVENT_ONESHOT);
	return r;
}

static void close_capture(struct stream *s)
{
	struct capture *c = container_of(s, struct capture, s);

	if (c->ready) {
		count_drops(c);
		log_info("capture of %s/%s/%s: %llu packets, %llu dropped", c->lab, c->instance,
			 c->nic, (unsigned long long)c->packets, (unsigned long long)c->dropped);
		LIST_REMOVE(c, link);
		sd_event_source_disable_unref(c->ready);
	}
	if (c->pcap)
		pcap_close(c->pcap);
	close(c->sock);
}

json_t *capture_json(struct labd *d)
{
	json_t *all = json_array();
	struct capture *c;

	LIST_FOREACH(c, &d->captures, link) {
		count_drops(c);
		json_array_append_new(all, json_pack("{s:s s:s s:s s:s s:I s:I}", "id", c->id,
						     "lab", c->lab, "instance", c->instance, "nic",
						     c->nic, "packets", (json_int_t)c->packets,
						     "dropped", (json_int_t)c->dropped));
	}
	return all;
}

static int attach_filter(struct capture *c, const char *filter, struct lab_err *err)
{
	struct bpf_program program = { 0 };
	struct sock_fprog prog;
	int r;

	if (pcap_compile(c->pcap, &program, filter, 1, PCAP_NETMASK_UNKNOWN) < 0)
		return lab_fail(err, -EINVAL, "filter '%s': %s", filter, pcap_geterr(c->pcap));
	prog.len = (unsigned short)program.bf_len;
	prog.filter = (struct sock_filter *)program.bf_insns;
	r = program.bf_len > BPF_MAXINSNS || setsockopt(c->sock, SOL_SOCKET, SO_ATTACH_FILTER,
							&prog, sizeof(prog)) < 0
		    ? lab_fail(err, -EINVAL, "filter '%s' is too long for the kernel", filter)
		    : 0;
	pcap_freecode(&program);
	return r;
}

/* From here on packets come */
static int start(const struct capture *c, struct lab_err *err)
{
	struct sockaddr_ll at = { 0 };
	socklen_t len = sizeof(at);

	if (getsockname(c->sock, (struct sockaddr *)&at, &len) < 0)
		return lab_fail_errno(err, -errno, "packet socket");
	at.sll_protocol = htons(ETH_P_ALL);
	if (bind(c->sock, (struct sockaddr *)&at, sizeof(at)) < 0)
		return lab_fail_errno(err, -errno, "packet socket");
	return 0;
}

int capture_new(struct labd *d, int sock, const struct capture_how *how, struct stream **ret,
		struct lab_err *err)
{
	struct capture *c = stream_new(d, sizeof(*c), "application/vnd.tcpdump.pcap", fill_capture,
				       close_capture);
	int r = 0;

	c->sock = sock;
	snprintf(c->lab, sizeof(c->lab), "%s", how->lab);
	snprintf(c->instance, sizeof(c->instance), "%s", how->instance);
	snprintf(c->nic, sizeof(c->nic), "%s", how->nic);
	snprintf(c->id, sizeof(c->id), "%s", how->id ? how->id : "");
	c->pcap = pcap_open_dead(DLT_EN10MB, SNAPLEN);
	if (!c->pcap)
		r = lab_fail(err, -ENOMEM, "out of memory");
	if (!r && how->filter && *how->filter)
		r = attach_filter(c, how->filter, err);
	if (!r)
		r = start(c, err);
	if (r < 0)
		stream_free(&c->s);
	else
		*ret = &c->s;
	return r;
}
