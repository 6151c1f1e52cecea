/* DPDK's FIB (rte_fib for IPv4, rte_fib6 for IPv6) over the files that ixmap's `--example fib` reads:
 * the peer beside which ixmap's lookups are measured. Only public DPDK functions are called, on one
 * pinned core, and the lookups are timed the way ixmap's are.
 *
 *   cc -O3 -march=native -o rte_fib *.c $(pkg-config --cflags --libs libdpdk)
 *   rte_fib [options] TABLE ADDRESSES
 *
 * TABLE holds lines `prefix id`, ADDRESSES one address a line; the family is the table's.
 * A next hop of DPDK is an id plus one, so that 0 can say "no route" and id 0 stays legal. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include "peer.h"

#define NO_ROUTE 0

union address {
	uint32_t v4; /* host order, as rte_fib wants it */
	uint8_t v6[16];
};

struct change {
	union address prefix;
	uint8_t length;
	bool withdraw;
	uint64_t next_hop;
};

/* The changes of a table or of an update file, in the file's order. */
struct changes {
	struct change *at;
	size_t count, room;
};

void die(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "rte_fib: ");
	vfprintf(stderr, format, arguments);
	fprintf(stderr, "\n");
	va_end(arguments);
	exit(2);
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

void *grow(void *at, size_t items, size_t size)
{
	void *larger = reallocarray(at, items, size);

	if (larger == NULL)
		die("out of memory for %zu items", items);
	return larger;
}

static FILE *open_file(const char *path)
{
	FILE *file = fopen(path, "r");

	if (file == NULL)
		die("%s: %s", path, strerror(errno));
	return file;
}

static bool parse_address(const char *text, bool ipv6, union address *address)
{
	if (ipv6)
		return inet_pton(AF_INET6, text, address->v6) == 1;
	if (inet_pton(AF_INET, text, &address->v4) != 1)
		return false;
	address->v4 = ntohl(address->v4);
	return true;
}

/* Reads `prefix id`, or with `timed` the `time a|w prefix [id]` of an update file. */
static bool parse_change(const char *line, bool timed, bool ipv6, struct change *change)
{
	char text[64], operation = 'a';
	unsigned int length;
	uint64_t id = 0;
	int fields;

	if (timed) {
		fields = sscanf(line, "%*s %c %63[^/]/%u %" SCNu64, &operation, text, &length, &id);
		if (fields < 3 || (operation == 'a' ? fields != 4 : operation != 'w'))
			return false;
	} else if (sscanf(line, "%63[^/]/%u %" SCNu64, text, &length, &id) != 3) {
		return false;
	}
	if (length > (ipv6 ? 128 : 32) || !parse_address(text, ipv6, &change->prefix))
		return false;
	change->length = (uint8_t)length;
	change->withdraw = operation == 'w';
	change->next_hop = id + 1;
	return true;
}

static struct changes read_changes(const char *path, bool timed, bool ipv6)
{
	struct changes changes = {0};
	FILE *file = open_file(path);
	char line[256];

	while (fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (changes.count == changes.room) {
			changes.room = changes.room ? changes.room * 2 : 1024;
			changes.at = grow(changes.at, changes.room, sizeof(*changes.at));
		}
		if (!parse_change(line, timed, ipv6, &changes.at[changes.count]))
			die("%s:%zu: cannot read: %s", path, changes.count + 1, line);
		changes.count++;
	}
	fclose(file);
	return changes;
}

static struct stream read_stream(const char *path, bool ipv6)
{
	struct stream stream = {0};
	union address address;
	FILE *file = open_file(path);
	char line[64];
	size_t room = 0;

	while (fgets(line, sizeof(line), file) != NULL) {
		line[strcspn(line, "\n")] = '\0';
		if (!parse_address(line, ipv6, &address))
			die("%s:%zu: cannot read: %s", path, stream.count + 1, line);
		if (stream.count == room) {
			room = room ? room * 2 : 1024;
			if (ipv6)
				stream.v6 = grow(stream.v6, room, sizeof(*stream.v6));
			else
				stream.v4 = grow(stream.v4, room, sizeof(*stream.v4));
		}
		if (ipv6)
			memcpy(stream.v6[stream.count++], address.v6, sizeof(address.v6));
		else
			stream.v4[stream.count++] = address.v4;
	}
	fclose(file);
	if (stream.count == 0)
		die("%s: no addresses", path);
	return stream;
}

/* The table's first line decides the family. */
static bool is_ipv6(const char *path)
{
	FILE *file = open_file(path);
	char line[256];
	bool read = fgets(line, sizeof(line), file) != NULL;

	fclose(file);
	if (!read)
		die("%s: empty table", path);
	return strchr(line, ':') != NULL;
}

/* Starts DPDK without a real-time policy that we may have been given by chrt: EAL waits for its control
 * thread in a loop of 1 us naps, and above SCHED_OTHER on one core these never let that thread run. */
static void start_eal(const struct options *o)
{
	struct sched_param plain = {0}, given;
	int policy = sched_getscheduler(0);
	char core[16];
	char *arguments[16];
	int n = 0;

	snprintf(core, sizeof(core), "%u", o->core);
	arguments[n++] = "rte_fib";
	arguments[n++] = "--in-memory";
	arguments[n++] = "--no-pci";
	arguments[n++] = "--no-telemetry";
	arguments[n++] = "--log-level=*:error";
	arguments[n++] = "-l";
	arguments[n++] = core;
	arguments[n++] = o->avx512 ? "--force-max-simd-bitwidth=512" : "--force-max-simd-bitwidth=64";
	if (policy < 0 || sched_getparam(0, &given) != 0 || sched_setscheduler(0, SCHED_OTHER, &plain) != 0)
		die("scheduling policy: %s", strerror(errno));
	if (rte_eal_init(n, arguments) < 0)
		die("rte_eal_init: %s (no hugepages? sysctl -w vm.nr_hugepages=768)", rte_strerror(rte_errno));
	if (sched_setscheduler(0, policy, &given) != 0)
		die("scheduling policy %d again: %s", policy, strerror(errno));
}

static struct rte_fib *create_v4(const struct options *o, int max_routes)
{
	struct rte_fib_conf conf = {
		.type = RTE_FIB_DIR24_8, .default_nh = NO_ROUTE, .max_routes = max_routes,
		.dir24_8 = {
			.nh_sz = o->width == 2 ? RTE_FIB_DIR24_8_2B :
				o->width == 4 ? RTE_FIB_DIR24_8_4B : RTE_FIB_DIR24_8_8B,
			.num_tbl8 = o->tbl8s ? o->tbl8s : 32767, /* the most that 2-byte entries can number */
		},
	};
	struct rte_fib *fib = rte_fib_create("peer", -1, &conf);

	if (fib == NULL)
		die("rte_fib_create: %s (too few hugepages?)", rte_strerror(rte_errno));
	if (rte_fib_select_lookup(fib, o->avx512 ? RTE_FIB_LOOKUP_DIR24_8_VECTOR_AVX512 :
			RTE_FIB_LOOKUP_DIR24_8_SCALAR_MACRO) != 0)
		die("this CPU or this DPDK refuses the %s lookup", o->avx512 ? "avx512" : "scalar");
	return fib;
}

static struct rte_fib6 *create_v6(const struct options *o, int max_routes)
{
	struct rte_fib6_conf conf = {
		.type = RTE_FIB6_TRIE, .default_nh = NO_ROUTE, .max_routes = max_routes,
		.trie = {
			.nh_sz = o->width == 2 ? RTE_FIB6_TRIE_2B :
				o->width == 4 ? RTE_FIB6_TRIE_4B : RTE_FIB6_TRIE_8B,
			/* A real table of 160,000 routes needs more than 2-byte entries can number. */
			.num_tbl8 = o->tbl8s ? o->tbl8s : o->width == 2 ? 32767 : 400000,
		},
	};
	struct rte_fib6 *fib = rte_fib6_create("peer", -1, &conf);

	if (fib == NULL)
		die("rte_fib6_create: %s (too few hugepages?)", rte_strerror(rte_errno));
	if (rte_fib6_select_lookup(fib, o->avx512 ? RTE_FIB6_LOOKUP_TRIE_VECTOR_AVX512 :
			RTE_FIB6_LOOKUP_TRIE_SCALAR) != 0)
		die("this CPU or this DPDK refuses the %s lookup", o->avx512 ? "avx512" : "scalar");
	return fib;
}

static int apply(const struct fib *fib, const struct change *c)
{
	if (fib->v6 != NULL)
		return c->withdraw ? rte_fib6_delete(fib->v6, c->prefix.v6, c->length) :
			rte_fib6_add(fib->v6, c->prefix.v6, c->length, c->next_hop);
	return c->withdraw ? rte_fib_delete(fib->v4, c->prefix.v4, c->length) :
		rte_fib_add(fib->v4, c->prefix.v4, c->length, c->next_hop);
}

/* A withdrawal of what is not there is usual in BGP; every other failure would falsify the answers. */
static void apply_or_die(const struct fib *fib, const struct change *c, const char *path, size_t line)
{
	int result = apply(fib, c);

	if (result != 0 && !(c->withdraw && result == -ENOENT))
		die("%s:%zu: refused by DPDK: %s%s", path, line, strerror(-result),
			result == -ENOSPC ? " (too few tbl8s)" : "");
}

void look_up(const struct fib *fib, const struct stream *s, size_t first, unsigned int n,
	uint64_t *next_hops)
{
	if (fib->v6 != NULL)
		rte_fib6_lookup_bulk(fib->v6, &s->v6[first], next_hops, (int)n);
	else
		rte_fib_lookup_bulk(fib->v4, &s->v4[first], next_hops, (int)n);
}

static unsigned int burst_at(const struct stream *s, size_t first, unsigned int burst)
{
	return s->count - first < burst ? (unsigned int)(s->count - first) : burst;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double median(double *values, size_t count)
{
	qsort(values, count, sizeof(*values), compare_doubles);
	return values[count / 2];
}

/* One round: whole passes over the stream for at least ROUND_NS; the answer is in ns per lookup. */
static double time_round(const struct fib *fib, const struct stream *s, unsigned int burst)
{
	uint64_t next_hops[MAX_BURST], start = now_ns(), elapsed;
	size_t lookups = 0;

	do {
		for (size_t first = 0; first < s->count; first += burst)
			look_up(fib, s, first, burst_at(s, first, burst), next_hops);
		lookups += s->count;
		elapsed = now_ns() - start;
	} while (elapsed < ROUND_NS);
	return (double)elapsed / (double)lookups;
}

/* Resident bytes of this process, hugepages included (VmRSS leaves them out). */
static uint64_t resident_bytes(void)
{
	FILE *file = open_file("/proc/self/status");
	char line[256];
	uint64_t sum = 0, kib;

	while (fgets(line, sizeof(line), file) != NULL)
		if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1 || sscanf(line, "HugetlbPages: %" SCNu64, &kib) == 1)
			sum += kib * 1024;
	fclose(file);
	return sum;
}

static void bench(const struct fib *fib, const struct stream *s, const struct options *o,
	double build_seconds, uint64_t built_bytes)
{
	double *rounds = grow(NULL, o->rounds, sizeof(*rounds)), ns;

	time_round(fib, s, o->burst); /* warms caches and TLB */
	for (unsigned int i = 0; i < o->rounds; i++)
		rounds[i] = time_round(fib, s, o->burst);
	ns = median(rounds, o->rounds);
	printf("{\"peer\":\"%s\",\"width\":%u,\"lookup\":\"%s\",\"burst\":%u,"
		"\"ns_per_lookup\":%.3f,\"mlookups\":%.1f,\"build_seconds\":%.3f,\"rss_bytes\":%" PRIu64,
		fib->v6 ? "rte_fib6" : "rte_fib", o->width, o->avx512 ? "avx512" : "scalar",
		o->burst, ns, 1e3 / ns, build_seconds, built_bytes);
	if (o->frames > 0) {
		struct per_packet per_packet = forward_frames(fib, s, o->frames, o->rounds);

		printf(",\"frames\":%u,\"ns_per_packet\":%.3f,\"ns_per_packet_without_lookup\":%.3f",
			o->frames, per_packet.ns, per_packet.ns_without_lookup);
	}
	if (o->mbufs > 0)
		printf(",\"mbufs\":%u,\"ns_per_mbuf\":%.3f", o->mbufs,
			forward_mbufs(fib, s, o->mbufs, o->rounds));
	puts("}");
	free(rounds);
}

/* Prints the id of every address, or `-`, as ixmap's example does. */
static void print_answers(const struct fib *fib, const struct stream *s, unsigned int burst)
{
	uint64_t next_hops[MAX_BURST];

	for (size_t first = 0; first < s->count; first += burst) {
		unsigned int n = burst_at(s, first, burst);

		look_up(fib, s, first, n, next_hops);
		for (unsigned int i = 0; i < n; i++)
			if (next_hops[i] == NO_ROUTE)
				puts("-");
			else
				printf("%" PRIu64 "\n", next_hops[i] - 1);
	}
}

/* DPDK has no batches: each operation is in force when the call returns. */
static void replay(const struct fib *fib, const struct changes *updates, const char *path)
{
	double *took = grow(NULL, updates->count + 1, sizeof(*took)), sum = 0;
	size_t n = updates->count;

	if (n == 0)
		die("%s: no updates", path);
	for (size_t i = 0; i < n; i++) {
		uint64_t start = now_ns();

		apply_or_die(fib, &updates->at[i], path, i + 1);
		took[i] = (double)(now_ns() - start);
		sum += took[i];
	}
	qsort(took, n, sizeof(*took), compare_doubles);
	printf("{\"peer\":\"%s\",\"ops\":%zu,\"ns_per_op_mean\":%.1f,\"ns_per_op_p50\":%.1f,\"ns_per_op_p99\":%.1f}\n",
		fib->v6 ? "rte_fib6" : "rte_fib", n, sum / (double)n, took[n / 2], took[n * 99 / 100]);
	free(took);
}

int main(int argc, char **argv)
{
	struct options o = parse_options(argc, argv);
	bool ipv6 = is_ipv6(o.table);
	struct changes table = read_changes(o.table, false, ipv6), updates = {0};
	struct stream stream = read_stream(o.addresses, ipv6);
	struct fib fib = {0};
	uint64_t start, before, built_bytes;
	double build_seconds;

	if (o.width == 0)
		o.width = ipv6 ? 4 : 2;
	if (o.width != 2 && o.width != 4 && o.width != 8)
		die("--width %u: 2, 4 or 8", o.width);
	if (o.updates != NULL)
		updates = read_changes(o.updates, true, ipv6);
	start_eal(&o);
	before = resident_bytes();
	start = now_ns();
	if (ipv6)
		fib.v6 = create_v6(&o, (int)(table.count + updates.count + 1));
	else
		fib.v4 = create_v4(&o, (int)(table.count + updates.count + 1));
	for (size_t i = 0; i < table.count; i++)
		apply_or_die(&fib, &table.at[i], o.table, i + 1);
	build_seconds = (double)(now_ns() - start) / 1e9;
	built_bytes = resident_bytes() - before;
	if (o.updates != NULL)
		replay(&fib, &updates, o.updates);
	if (o.print)
		print_answers(&fib, &stream, o.burst);
	else
		bench(&fib, &stream, &o, build_seconds, built_bytes);
	free(table.at);
	free(updates.at);
	free(stream.v4);
	free(stream.v6);
	return 0;
}
