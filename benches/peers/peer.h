/* What rte_fib.c and the files beside it share. */
#ifndef PEER_H
#define PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rte_fib.h>
#include <rte_fib6.h>

/* A round takes this long or longer. */
#define ROUND_NS 50000000ull
/* The most addresses that are looked up at once, and the packets of a burst. */
#define MAX_BURST 1024
#define BURST 64

/* What the command line asked for; `frames` and `mbufs` are 0 when it did not. */
struct options {
	const char *table, *addresses, *updates;
	unsigned int burst, rounds, width, tbl8s, core, frames, mbufs;
	bool avx512, print;
};

/* One FIB of either family; the other pointer is null. */
struct fib {
	struct rte_fib *v4;
	struct rte_fib6 *v6;
};

/* The addresses to look up, contiguous as the bulk functions want them. */
struct stream {
	uint32_t *v4; /* host order */
	uint8_t (*v6)[16];
	size_t count;
};

/* Medians over the rounds. */
struct per_packet {
	double ns, ns_without_lookup;
};

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
uint64_t now_ns(void);
void *grow(void *at, size_t items, size_t size);
double median(double *values, size_t count);
void look_up(const struct fib *fib, const struct stream *s, size_t first, unsigned int n, uint64_t *next_hops);

/* options.c */
struct options parse_options(int argc, char **argv);

/* frames.c: a UDP packet of 64 bytes to an address of the stream, into zeroes or a packet of before; and the
 * medians. */
void write_packet(uint8_t *packet, const struct stream *s, size_t at, bool ipv6);
struct per_packet forward_frames(const struct fib *fib, const struct stream *s, size_t count,
	unsigned int rounds);

/* mbufs.c: the median, in nanoseconds a packet. */
double forward_mbufs(const struct fib *fib, const struct stream *s, unsigned int count, unsigned int rounds);

#endif
