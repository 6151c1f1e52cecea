/* `--frames`: what a packet costs when its destination comes from a frame and the answer goes into it,
 * as in a router. examples/fib/frames.rs does the same, step by step, with ixmap's lookups. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "peer.h"

#define STRIDE 2048  /* from one frame to the next */
#define HEADROOM 128 /* where the packet starts in its frame */
#define ETHERNET 14
#define TTL 64
#define NEIGHBOURS 256 /* pairs of MAC addresses, which next hops share */

typedef uint8_t frame[STRIDE];

struct router {
	const struct fib *fib;
	const struct stream *stream;
	size_t next; /* in the stream */
	frame *frames;
	size_t count;
	uint8_t neighbours[NEIGHBOURS][12];
};

static uint16_t fold(uint64_t sum)
{
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t read16(const uint8_t *at)
{
	uint16_t value;

	memcpy(&value, at, sizeof(value));
	return ntohs(value);
}

static void write16(uint8_t *at, uint16_t value)
{
	value = htons(value);
	memcpy(at, &value, sizeof(value));
}

static void write_v4(uint8_t *packet, uint32_t destination)
{
	uint8_t *header = packet + ETHERNET;
	uint64_t sum = 0;

	write16(packet + 12, 0x0800);
	memset(header, 0, 20);
	memcpy(header, (uint8_t[]){0x45, 0, 0, 50}, 4);
	header[8] = TTL;
	header[9] = 17;
	destination = htonl(destination);
	memcpy(header + 16, &destination, sizeof(destination));
	for (int i = 0; i < 20; i += 2)
		sum += read16(header + i);
	write16(header + 10, (uint16_t)~fold(sum));
}

static void write_v6(uint8_t *packet, const uint8_t *destination)
{
	uint8_t *header = packet + ETHERNET;

	write16(packet + 12, 0x86dd);
	memset(header, 0, 40);
	memcpy(header, (uint8_t[]){0x60, 0, 0, 0, 0, 10, 17, TTL}, 8);
	memcpy(header + 24, destination, 16);
}

void write_packet(uint8_t *packet, const struct stream *s, size_t at, bool ipv6)
{
	if (ipv6)
		write_v6(packet, s->v6[at]);
	else
		write_v4(packet, s->v4[at]);
}

/* Takes one off the TTL and mends the checksum: RFC 1624, equation 3. */
static void age_v4(uint8_t *header)
{
	uint16_t old = read16(header + 8), new = (uint16_t)(old - 0x100);
	uint16_t checksum = read16(header + 10);

	checksum = (uint16_t)~fold((uint64_t)(uint16_t)~checksum + (uint16_t)~old + new);
	write16(header + 8, new);
	write16(header + 10, checksum);
}

static void age_v6(uint8_t *header)
{
	header[7]--;
}

/* Fills the frames with the stream's next packets: in a router, the NIC does it. */
static void fill(struct router *r)
{
	for (size_t i = 0; i < r->count; i++) {
		write_packet(r->frames[i] + HEADROOM, r->stream, r->next, r->fib->v6 != NULL);
		if (++r->next == r->stream->count)
			r->next = 0;
	}
}

/* Forwards the packet of each frame. Without lookups, all have the next hops of a burst of old. */
static inline __attribute__((always_inline)) void pass_family(struct router *r, bool lookups, bool ipv6)
{
	uint32_t v4[BURST];
	uint8_t v6[BURST][16];
	struct stream destinations = {.v4 = v4, .v6 = v6, .count = BURST};
	uint64_t next_hops[BURST];

	for (unsigned int i = 0; i < BURST; i++)
		next_hops[i] = i;
	for (size_t first = 0; first < r->count; first += BURST) {
		frame *burst = &r->frames[first];
		unsigned int n = r->count - first < BURST ? (unsigned int)(r->count - first) : BURST;

		for (unsigned int i = 0; i < n; i++) {
			const uint8_t *packet = burst[i] + HEADROOM;

			if (ipv6) {
				memcpy(v6[i], packet + ETHERNET + 24, 16);
			} else {
				memcpy(&v4[i], packet + ETHERNET + 16, 4);
				v4[i] = ntohl(v4[i]);
			}
		}
		if (lookups)
			look_up(r->fib, &destinations, 0, n, next_hops);
		/* The compiler may not know what is in there. */
		__asm__ volatile("" : : "r"(v4), "r"(v6), "r"(next_hops) : "memory");
		for (unsigned int i = 0; i < n; i++) {
			uint8_t *packet = burst[i] + HEADROOM;

			if (ipv6)
				age_v6(packet + ETHERNET);
			else
				age_v4(packet + ETHERNET);
			memcpy(packet, r->neighbours[next_hops[i] % NEIGHBOURS], 12);
		}
	}
}

static void pass(struct router *r, bool lookups)
{
	if (r->fib->v6 != NULL)
		pass_family(r, lookups, true);
	else
		pass_family(r, lookups, false);
}

/* Nanoseconds per packet; the frames are filled before each pass, off the clock. */
static double time_frames(struct router *r, bool lookups)
{
	uint64_t elapsed = 0, start;
	size_t packets = 0;

	while (elapsed < ROUND_NS) {
		fill(r);
		start = now_ns();
		pass(r, lookups);
		elapsed += now_ns() - start;
		packets += r->count;
	}
	return (double)elapsed / (double)packets;
}

static double median_of_rounds(struct router *r, bool lookups, unsigned int rounds)
{
	double *times = grow(NULL, rounds, sizeof(*times)), ns;

	time_frames(r, lookups); /* warms caches and TLB */
	for (unsigned int i = 0; i < rounds; i++)
		times[i] = time_frames(r, lookups);
	ns = median(times, rounds);
	free(times);
	return ns;
}

struct per_packet forward_frames(const struct fib *fib, const struct stream *s, size_t count,
	unsigned int rounds)
{
	struct router r = {.fib = fib, .stream = s, .count = count};
	struct per_packet per_packet;

	r.frames = mmap(NULL, count * STRIDE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (r.frames == MAP_FAILED)
		die("no memory for frames: %s", strerror(errno));
	/* Refused where the kernel has no huge pages: then the normal ones do. */
	madvise(r.frames, count * STRIDE, MADV_HUGEPAGE);
	for (size_t i = 0; i < NEIGHBOURS; i++)
		memset(r.neighbours[i], (int)i, sizeof(r.neighbours[i]));
	per_packet.ns = median_of_rounds(&r, true, rounds);
	per_packet.ns_without_lookup = median_of_rounds(&r, false, rounds);
	munmap(r.frames, count * STRIDE);
	return per_packet;
}
