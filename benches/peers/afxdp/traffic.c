// Sends packets through a router and counts what comes out of it:
//
//     traffic [-s SECONDS] [-w SECONDS] [-g CORE] [-c CORE] GEN-NETNS DEVICE SINK-NETNS DEVICE FILE
//
// One core (-g) makes packets to the addresses of FILE in turn and puts them on the device in the
// first namespace. After a warm-up (-w), those that reach the device in the second one are counted
// for some seconds (-s), and the rate is printed in packets a second: offered, routed, and anything
// else that came. The clock is read on another core (-c).
//
// Frames live in the kernel all the time (BPF_F_TEST_XDP_LIVE_FRAMES), which is quicker than any
// sender in user space.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "traffic.h"

enum { BATCH = 64, GENERATOR_PRIORITY = 50, CLOCK_PRIORITY = 60 };

static const char *object_file = "traffic.bpf.o";

struct generator {
	const char *netns;
	int core;
	int program;
};

static atomic_bool over;

static void fail(const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	fputs("traffic: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	exit(1);
}

static void enter(const char *netns)
{
	char path[256];
	snprintf(path, sizeof path, "/run/netns/%s", netns);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET))
		fail("cannot enter the namespace %s: %s", netns, strerror(errno));
	close(fd);
}

static unsigned int device_index(const char *device)
{
	unsigned int index = if_nametoindex(device);
	if (!index)
		fail("no device %s", device);
	return index;
}

// Runs the calling thread on one core, above what is ordinary.
static void settle(int core, int priority)
{
	cpu_set_t cores;
	CPU_ZERO(&cores);
	CPU_SET(core, &cores);
	struct sched_param parameter = { .sched_priority = priority };
	if (sched_setaffinity(0, sizeof cores, &cores))
		fail("no core %d", core);
	if (sched_setscheduler(0, SCHED_FIFO, &parameter))
		fail("no real-time priority: %s", strerror(errno));
}

static __u16 header_checksum(const __u8 *header)
{
	__u32 sum = 0;
	for (int i = 0; i < 20; i += 2)
		sum += header[i] << 8 | header[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons(~sum);
}

// A UDP packet of 50 bytes behind its Ethernet header, without a destination yet.
static void write_frame(__u8 *frame)
{
	static const __u8 start[] = {
		0x02, 0, 0, 0, 0, 0x02, 0x02, 0, 0, 0, 0, 0x01, 0x08, 0x00, // the router's MAC, ours, IPv4
		0x45, 0, 0, FRAME - 14, 0, 0, 0, 0, TTL, 17, 0, 0,          // UDP
		10, 0, 1, 1, 0, 0, 0, 0,                                    // from 10.0.1.1
		0x30, 0x39, 0, 9, 0, FRAME - 34, 0, 0,                      // to discard, no checksum
	};
	memset(frame, 0, FRAME);
	memcpy(frame, start, sizeof start);
}

static void read_destinations(const char *file, const __u8 *frame, struct destination *to)
{
	FILE *lines = fopen(file, "r");
	if (!lines)
		fail("cannot read %s: %s", file, strerror(errno));
	__u8 header[20];
	memcpy(header, frame + 14, sizeof header);
	for (int i = 0; i < DESTINATIONS; i++) {
		char line[64], address[64];
		if (!fgets(line, sizeof line, lines) || sscanf(line, "%63s", address) != 1 ||
			inet_pton(AF_INET, address, &to[i].address) != 1)
			fail("%s needs %d lines with an IPv4 address each", file, DESTINATIONS);
		memcpy(header + 16, &to[i].address, 4);
		to[i].checksum = header_checksum(header);
	}
	fclose(lines);
}

static void *map(struct bpf_object *object, const char *name, size_t size)
{
	struct bpf_map *found;
	bpf_object__for_each_map(found, object)
	{
		if (!strstr(bpf_map__name(found), name))
			continue;
		void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(found), 0);
		if (memory == MAP_FAILED)
			fail("cannot map %s: %s", name, strerror(errno));
		return memory;
	}
	fail("%s has no map %s", object_file, name);
	return NULL;
}

static void tell(struct bpf_object *object, const struct settings *settings)
{
	struct bpf_map *found;
	bpf_object__for_each_map(found, object)
	{
		if (strstr(bpf_map__name(found), ".rodata") &&
			!bpf_map__set_initial_value(found, settings, sizeof *settings))
			return;
	}
	fail("%s has no settings", object_file);
}

static int program(struct bpf_object *object, const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(object, name));
}

static void interrupted(int signal) { (void)signal; }

// One long run, ended by a signal: each costs a grace period.
static void *generate(void *argument)
{
	struct generator *generator = argument;
	__u8 frame[FRAME] = { 0 };
	struct xdp_md context = { .data_end = FRAME };
	LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame, .data_size_in = FRAME,
				.ctx_in = &context, .ctx_size_in = sizeof context, .repeat = 1 << 30,
				.flags = BPF_F_TEST_XDP_LIVE_FRAMES, .batch_size = BATCH);
	enter(generator->netns);
	settle(generator->core, GENERATOR_PRIORITY);
	while (!over) {
		int result = bpf_prog_test_run_opts(generator->program, &options);
		if (result && result != -EINTR && errno != EINTR)
			fail("cannot generate packets: %s", strerror(-result));
	}
	return NULL;
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

struct counted {
	double offered, routed, strange;
};

static struct counted look(const volatile struct counters *counters)
{
	struct counted all = { .offered = (double)counters->offered };
	for (int i = 0; i < CORES; i++) {
		all.routed += (double)counters->sink[i].routed;
		all.strange += (double)counters->sink[i].strange;
	}
	return all;
}

static void measure(const volatile struct counters *counters, double warm_up, double seconds)
{
	usleep((useconds_t)(warm_up * 1e6));
	double start = now();
	struct counted before = look(counters);
	usleep((useconds_t)(seconds * 1e6));
	double spent = now() - start;
	struct counted after = look(counters);
	printf("offered %.0f routed %.0f strange %.0f\n", (after.offered - before.offered) / spent,
	       (after.routed - before.routed) / spent, (after.strange - before.strange) / spent);
}

int main(int argc, char **argv)
{
	double warm_up = 0.5, seconds = 2;
	int clock_core = 1, option;
	struct generator generator = { .core = 0 };
	while ((option = getopt(argc, argv, "s:w:g:c:o:")) != -1) {
		switch (option) {
		case 's': seconds = atof(optarg); break;
		case 'w': warm_up = atof(optarg); break;
		case 'g': generator.core = atoi(optarg); break;
		case 'c': clock_core = atoi(optarg); break;
		case 'o': object_file = optarg; break;
		default: return 2;
		}
	}
	if (argc - optind != 5)
		fail("GEN-NETNS DEVICE SINK-NETNS DEVICE FILE");
	char **names = argv + optind;
	generator.netns = names[0];

	struct bpf_object *object = bpf_object__open_file(object_file, NULL);
	if (!object)
		fail("cannot open %s", object_file);
	struct settings settings = { 0 };
	write_frame((__u8 *)settings.frame);
	enter(names[0]);
	settings.ifindex = device_index(names[1]);
	tell(object, &settings);
	if (bpf_object__load(object))
		fail("the kernel does not take %s", object_file);
	read_destinations(names[4], (const __u8 *)settings.frame,
					  map(object, "destinations", DESTINATIONS * sizeof(struct destination)));
	generator.program = program(object, "generate");

	enter(names[2]);
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)device_index(names[3]), .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, sink, .prog_fd = program(object, "count"));
	bpf_tc_hook_create(&hook);
	if (bpf_tc_attach(&hook, &sink))
		fail("cannot count at %s", names[3]);

	struct sigaction action = { .sa_handler = interrupted };
	sigaction(SIGUSR1, &action, NULL);
	settle(clock_core, CLOCK_PRIORITY);
	pthread_t thread;
	pthread_create(&thread, NULL, generate, &generator);
	measure(map(object, ".bss", sizeof(struct counters)), warm_up, seconds);
	over = true;
	while (pthread_tryjoin_np(thread, NULL)) {
		pthread_kill(thread, SIGUSR1);
		usleep(10000);
	}
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	bpf_tc_hook_destroy(&hook);
	return 0;
}
