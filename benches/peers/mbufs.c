/* `--mbufs`: what a packet costs in a plain forwarding loop on DPDK's API, the peer of ixmap's pipeline. Nothing
 * is received or sent: the packets stay in their mbufs, and what a burst would arrive as is an array of them. */
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <rte_branch_prediction.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include "peer.h"

#define LENGTH 64
#define ROOM 128 /* for a packet, behind DPDK's headroom */
#define TTL_AGAIN 255 /* when it has run out: packets go round for ever */
#define NEXT_HOPS 256
#define BURSTS 64 /* between two looks at the clock */
#define WARM_UP 6 /* rounds */

struct next_hop {
	struct rte_ether_addr neighbour, own;
	uint16_t port;
} __rte_aligned(16);

/* Not behind a pointer: writing a packet could change that, for all that the compiler knows. */
static struct next_hop next_hops[NEXT_HOPS];
static uint64_t sent[NEXT_HOPS], malformed;

struct loop {
	const struct fib *fib;
	const struct stream *stream;
	struct rte_mbuf **mbufs;
	unsigned int count, next;
};

/* The stream's first packets, from its start again when there are more mbufs. */
static void fill(struct loop *l)
{
	struct rte_mempool *pool =
		rte_pktmbuf_pool_create("mbufs", l->count, 0, 0, RTE_PKTMBUF_HEADROOM + ROOM, SOCKET_ID_ANY);

	if (pool == NULL)
		die("%u mbufs: %s (too few hugepages?)", l->count, rte_strerror(rte_errno));
	l->mbufs = grow(NULL, l->count, sizeof(struct rte_mbuf *));
	for (unsigned int i = 0; i < l->count; i++) {
		uint8_t *packet;

		l->mbufs[i] = rte_pktmbuf_alloc(pool);
		if (l->mbufs[i] == NULL)
			die("mbuf %u of %u: %s", i, l->count, rte_strerror(rte_errno));
		packet = (uint8_t *)rte_pktmbuf_append(l->mbufs[i], LENGTH);
		memset(packet, 0, LENGTH);
		write_packet(packet, l->stream, i % l->stream->count, l->fib->v6 != NULL);
	}
}

static inline bool is_plain_v4(struct rte_mbuf *m)
{
	const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *)(ethernet + 1);

	return ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV4) && ip->version_ihl == 0x45 &&
		m->pkt_len >= sizeof(*ethernet) + sizeof(*ip) &&
		rte_be_to_cpu_16(ip->total_length) >= sizeof(*ip) && ip->time_to_live > 1;
}

static inline bool is_plain_v6(struct rte_mbuf *m)
{
	const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	const struct rte_ipv6_hdr *ip = (const struct rte_ipv6_hdr *)(ethernet + 1);

	return ethernet->ether_type == RTE_BE16(RTE_ETHER_TYPE_IPV6) && *(const uint8_t *)ip >> 4 == 6 &&
		m->pkt_len >= sizeof(*ethernet) + sizeof(*ip) && ip->hop_limits > 1;
}

/* RFC 1141's way to mend a checksum. */
static inline void age_v4(struct rte_ipv4_hdr *ip)
{
	uint32_t checksum;

	if (unlikely(ip->time_to_live <= 2)) {
		ip->time_to_live = TTL_AGAIN;
		ip->hdr_checksum = 0;
		ip->hdr_checksum = rte_ipv4_cksum(ip);
	}
	ip->time_to_live--;
	checksum = ip->hdr_checksum + rte_cpu_to_be_16(0x0100);
	ip->hdr_checksum = (uint16_t)(checksum + (checksum >> 16));
}

static inline void age_v6(struct rte_ipv6_hdr *ip)
{
	if (unlikely(ip->hop_limits <= 2))
		ip->hop_limits = TTL_AGAIN;
	ip->hop_limits--;
}

static inline __attribute__((always_inline)) void rewrite(struct rte_mbuf *m, uint64_t id, bool ipv6)
{
	struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(m, struct rte_ether_hdr *);
	const struct next_hop *next_hop = &next_hops[id % NEXT_HOPS];

	rte_ether_addr_copy(&next_hop->neighbour, &ethernet->dst_addr);
	rte_ether_addr_copy(&next_hop->own, &ethernet->src_addr);
	if (ipv6)
		age_v6((struct rte_ipv6_hdr *)(ethernet + 1));
	else
		age_v4((struct rte_ipv4_hdr *)(ethernet + 1));
	m->port = next_hop->port;
	sent[id % NEXT_HOPS]++;
}

/* One burst; `ipv6` is known where this is called, and the other family's code not there. */
static inline __attribute__((always_inline)) void forward(const struct fib *fib, struct rte_mbuf **burst, bool ipv6)
{
	uint32_t v4[BURST];
	uint8_t v6[BURST][16];
	struct stream destinations = {.v4 = v4, .v6 = v6, .count = BURST};
	uint64_t ids[BURST];

	for (unsigned int i = 0; i < BURST; i++)
		rte_prefetch0(rte_pktmbuf_mtod(burst[i], void *));
	for (unsigned int i = 0; i < BURST; i++) {
		struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(burst[i], struct rte_ether_hdr *);

		if (unlikely(ipv6 ? !is_plain_v6(burst[i]) : !is_plain_v4(burst[i])))
			malformed++;
		if (ipv6)
			memcpy(v6[i], ((struct rte_ipv6_hdr *)(ethernet + 1))->dst_addr, sizeof(v6[i]));
		else
			v4[i] = rte_be_to_cpu_32(((struct rte_ipv4_hdr *)(ethernet + 1))->dst_addr);
	}
	look_up(fib, &destinations, 0, BURST, ids);
	for (unsigned int i = 0; i < BURST; i++)
		rewrite(burst[i], ids[i], ipv6);
}

/* One round, from where the last one ended, of ROUND_NS or longer; in nanoseconds a packet. */
static inline __attribute__((always_inline)) double time_family(struct loop *l, bool ipv6)
{
	uint64_t start = now_ns(), packets = 0, elapsed;

	do {
		for (unsigned int i = 0; i < BURSTS; i++) {
			forward(l->fib, &l->mbufs[l->next], ipv6);
			l->next = l->next + BURST < l->count ? l->next + BURST : 0;
		}
		packets += BURSTS * BURST;
		elapsed = now_ns() - start;
	} while (elapsed < ROUND_NS);
	return (double)elapsed / (double)packets;
}

static double time_round(struct loop *l)
{
	return l->fib->v6 != NULL ? time_family(l, true) : time_family(l, false);
}

/* What would make the time one of something else: a packet that is not as it should be, or went elsewhere. */
static void check(const struct loop *l)
{
	if (malformed > 0)
		die("%" PRIu64 " packets were malformed", malformed);
	for (unsigned int i = 0; i < l->count; i++) {
		struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(l->mbufs[i], struct rte_ether_hdr *);
		const struct next_hop *next_hop;
		uint64_t id;

		look_up(l->fib, l->stream, i % l->stream->count, 1, &id);
		next_hop = &next_hops[id % NEXT_HOPS];
		if (memcmp(ethernet, next_hop, 2 * RTE_ETHER_ADDR_LEN) != 0 || l->mbufs[i]->port != next_hop->port)
			die("packet %u went to the wrong next hop", i);
		if (l->fib->v4 != NULL && rte_ipv4_cksum((struct rte_ipv4_hdr *)(ethernet + 1)) != 0)
			die("packet %u has a wrong checksum", i);
	}
}

double forward_mbufs(const struct fib *fib, const struct stream *s, unsigned int count, unsigned int rounds)
{
	struct loop l = {.fib = fib, .stream = s, .count = count};
	double *times = grow(NULL, rounds, sizeof(*times)), ns;

	for (unsigned int i = 0; i < NEXT_HOPS; i++) {
		memset(&next_hops[i], (int)i, sizeof(next_hops[i]));
		next_hops[i].port = (uint16_t)i;
	}
	fill(&l);
	for (unsigned int i = 0; i < WARM_UP; i++)
		time_round(&l);
	for (unsigned int i = 0; i < rounds; i++)
		times[i] = time_round(&l);
	check(&l);
	ns = median(times, rounds);
	free(times);
	rte_pktmbuf_free_bulk(l.mbufs, count);
	free(l.mbufs);
	return ns;
}
