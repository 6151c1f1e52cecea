/* The least that a forwarder on AF_XDP does, as the bound of what ixmapd can reach on the same devices:
 *
 *     forwarder [-c CORE] DEVICE DEVICE
 *
 * One thread takes packets from each device and sends them by the other, with the MAC addresses that
 * the benchmark's hosts have, and TTL and checksum mended. It looks nothing up, checks nothing and
 * counts nothing. Ends with SIGTERM.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <xdp/xsk.h>

#define FRAMES 16384
#define FRAME_SIZE 2048
#define RING 4096
#define BATCH 64
#define XDP_MAX_TX_SKB_BUDGET 9 /* Linux 6.17 */
#define TX_BUDGET 256

struct port {
	struct xsk_socket *socket;
	struct xsk_ring_cons rx, completion;
	struct xsk_ring_prod tx, fill;
	uint32_t sending;
};

static uint8_t *memory;
static uint64_t free_frames[FRAMES];
static uint32_t free_count;
static volatile sig_atomic_t stopped;

/* Destination and source of what leaves by each device. */
static const uint8_t addresses[2][12] = {
	{ 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 },
	{ 2, 0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 3 },
};

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static void fail(const char *what, int error)
{
	fprintf(stderr, "forwarder: cannot %s: %s\n", what, strerror(error));
	exit(1);
}

static void give(uint64_t address)
{
	free_frames[free_count++] = address & ~(uint64_t)(FRAME_SIZE - 1);
}

static void refill(struct port *port)
{
	uint32_t at = 0, count = xsk_prod_nb_free(&port->fill, RING);

	if (count > free_count)
		count = free_count;
	if (count < BATCH)
		return;
	xsk_ring_prod__reserve(&port->fill, count, &at);
	for (uint32_t i = 0; i < count; i++)
		*xsk_ring_prod__fill_addr(&port->fill, at + i) = free_frames[--free_count];
	xsk_ring_prod__submit(&port->fill, count);
}

static void open_port(struct port *port, const char *device, struct xsk_umem *umem)
{
	struct xsk_socket_config config = {
		.rx_size = RING,
		.tx_size = RING,
		.xdp_flags = XDP_FLAGS_DRV_MODE,
		.bind_flags = XDP_COPY | XDP_USE_NEED_WAKEUP,
	};
	int budget = TX_BUDGET;
	int error = xsk_socket__create_shared(&port->socket, device, 0, umem, &port->rx, &port->tx,
					      &port->fill, &port->completion, &config);

	if (error)
		fail(device, -error);
	/* Refused by older kernels, which then send 32 at a time. */
	setsockopt(xsk_socket__fd(port->socket), SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &budget, sizeof(budget));
	refill(port);
}

static void rewrite(uint8_t *packet, const uint8_t *macs)
{
	uint32_t sum;
	uint16_t checksum;

	memcpy(packet, macs, 12);
	if (packet[12] != 8)
		return;
	packet[22]--;
	memcpy(&checksum, packet + 24, 2);
	sum = ntohs(checksum) + 0x100;
	checksum = htons(sum + (sum >> 16));
	memcpy(packet + 24, &checksum, 2);
}

static void kick(struct port *port)
{
	uint32_t at, done;

	if (port->sending == 0)
		return;
	sendto(xsk_socket__fd(port->socket), NULL, 0, MSG_DONTWAIT, NULL, 0);
	done = xsk_ring_cons__peek(&port->completion, RING, &at);
	for (uint32_t i = 0; i < done; i++)
		give(*xsk_ring_cons__comp_addr(&port->completion, at + i));
	xsk_ring_cons__release(&port->completion, done);
	port->sending -= done;
}

static void forward(struct port *from, struct port *to, const uint8_t *macs)
{
	uint32_t in, out, count = xsk_ring_cons__peek(&from->rx, BATCH, &in);
	uint32_t room = count ? xsk_ring_prod__reserve(&to->tx, count, &out) : 0;

	for (uint32_t i = 0; i < count; i++) {
		const struct xdp_desc *packet = xsk_ring_cons__rx_desc(&from->rx, in + i);

		if (room == 0) {
			give(packet->addr);
			continue;
		}
		rewrite(memory + packet->addr, macs);
		*xsk_ring_prod__tx_desc(&to->tx, out + i) = (struct xdp_desc){
			.addr = packet->addr,
			.len = packet->len,
		};
	}
	xsk_ring_cons__release(&from->rx, count);
	xsk_ring_prod__submit(&to->tx, room);
	to->sending += room;
	kick(to);
	refill(from);
}

int main(int argc, char **argv)
{
	struct xsk_umem_config config = { .fill_size = RING, .comp_size = RING, .frame_size = FRAME_SIZE };
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	static struct port ports[2];
	struct xsk_umem *umem;
	size_t size = (size_t)FRAMES * FRAME_SIZE;
	int option, protection = PROT_READ | PROT_WRITE, mapping = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
	cpu_set_t cores;

	CPU_ZERO(&cores);
	while ((option = getopt(argc, argv, "c:")) == 'c')
		CPU_SET(atoi(optarg), &cores);
	if (option != -1 || argc - optind != 2)
		fail("run: give it two devices", EINVAL);
	if (CPU_COUNT(&cores) && sched_setaffinity(0, sizeof(cores), &cores))
		fail("run on that core", errno);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
	signal(SIGTERM, stop);

	memory = mmap(NULL, size, protection, mapping | MAP_HUGETLB, -1, 0);
	if (memory == MAP_FAILED)
		memory = mmap(NULL, size, protection, mapping, -1, 0);
	if (memory == MAP_FAILED)
		fail("map memory", errno);
	for (uint32_t i = 0; i < FRAMES; i++)
		give((uint64_t)i * FRAME_SIZE);
	if (xsk_umem__create(&umem, memory, size, &ports[0].fill, &ports[0].completion, &config))
		fail("register memory", errno);
	for (int i = 0; i < 2; i++)
		open_port(&ports[i], argv[optind + i], umem);
	while (!stopped) {
		forward(&ports[0], &ports[1], addresses[1]);
		forward(&ports[1], &ports[0], addresses[0]);
	}
	for (int i = 0; i < 2; i++)
		xsk_socket__delete(ports[i].socket);
	return 0;
}
