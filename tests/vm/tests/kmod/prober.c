/*
 * The one user of ixmap.ko in the tests: each command goes through a part of what ixmap.h promises
 * and ends at the first promise that is not kept, with the line that says which.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ixmap.h"

#define PAGE 4096ul
#define HUGE (2ul << 20)
#define BAR_SIZE (128ul << 10)

/* The card's registers. */
#define STATUS (0x0008 / 4)
#define LEDCTL (0x0200 / 4)
#define EICS (0x0808 / 4)
#define EIAC (0x0810 / 4)
#define EIMS (0x0880 / 4)
#define GPIE (0x0898 / 4)
#define IVAR (0x0900 / 4)

#define CHECK(what) check((what), #what, __LINE__)
#define FAILS(error, what) fails((what), (error), #what, __LINE__)

static const char *path;
static int fd;

static void check(int good, const char *what, int line)
{
	if (good)
		return;
	printf("line %d: not so: %s (errno: %s)\n", line, what, strerror(errno));
	exit(1);
}

/* Checks that a call failed, and how. */
static void fails(long result, int error, const char *what, int line)
{
	if (result == -1 && errno == error)
		return;
	printf("line %d: %s gave %ld (%s), not %s\n", line, what, result, strerror(errno),
	       strerror(error));
	exit(1);
}

static void *memory(size_t length, int flags)
{
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | flags, -1, 0);

	CHECK(memory != MAP_FAILED);
	return memory;
}

static volatile uint32_t *registers(void)
{
	void *bar = mmap(NULL, BAR_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	CHECK(bar != MAP_FAILED);
	return bar;
}

static int map(void *address, size_t length, struct ixmap_dma_segment *segments, uint32_t room,
	       uint32_t *count)
{
	struct ixmap_dma_map map = {
		.address = (uintptr_t)address,
		.length = length,
		.segments = (uintptr_t)segments,
		.room = room,
	};
	int result = ioctl(fd, IXMAP_IOC_DMA_MAP, &map);

	if (count)
		*count = map.count;
	return result;
}

static int unmap(void *address, size_t length)
{
	struct ixmap_dma_unmap unmap = { .address = (uintptr_t)address, .length = length };

	return ioctl(fd, IXMAP_IOC_DMA_UNMAP, &unmap);
}

static int vectors(uint32_t count)
{
	return ioctl(fd, IXMAP_IOC_VECTORS, &count);
}

static int master(uint32_t on)
{
	return ioctl(fd, IXMAP_IOC_MASTER, &on);
}

static int tie(uint32_t vector, int eventfd, uint32_t reserved, uint32_t *irq)
{
	struct ixmap_vector tie = { .vector = vector, .eventfd = eventfd, .reserved = reserved };
	int result = ioctl(fd, IXMAP_IOC_VECTOR, &tie);

	if (irq)
		*irq = tie.irq;
	return result;
}

/* The sum of the lengths, each of which is not 0. */
static uint64_t total(const struct ixmap_dma_segment *segments, uint32_t count)
{
	uint64_t total = 0;

	for (uint32_t i = 0; i < count; i++) {
		CHECK(segments[i].length != 0);
		total += segments[i].length;
	}
	return total;
}

static void probe_info(void)
{
	struct ixmap_info info;

	CHECK(ioctl(fd, IXMAP_IOC_INFO, &info) == 0);
	CHECK(info.abi == IXMAP_ABI);
	CHECK(info.vendor_id == 0x8086 && info.device_id == 0x10fb);
	CHECK(info.vectors == 64 && info.bar_size == BAR_SIZE && info.reserved == 0);
	CHECK(info.numa_node == -1);
	printf("%04x:%02x:%02x.%x\n", info.domain, info.bus, info.device, info.function);
}

static void probe_registers(void)
{
	volatile uint32_t *bar = registers();
	uint32_t led = bar[LEDCTL];

	CHECK(bar[STATUS] != 0 && bar[STATUS] != UINT32_MAX);
	CHECK(led != 0);
	bar[LEDCTL] = led ^ 0xf;
	CHECK(bar[LEDCTL] == (led ^ 0xf));
	CHECK(ioctl(fd, IXMAP_IOC_RESET) == 0);
	CHECK(bar[LEDCTL] == led);
	bar[LEDCTL] = led ^ 0xf;
	/* A new owner finds the function reset. */
	munmap((void *)bar, BAR_SIZE);
	close(fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	bar = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(bar != MAP_FAILED && bar[LEDCTL] == led);
}

static void probe_owner(void)
{
	struct ixmap_info info;
	int status;
	pid_t child;

	FAILS(EBUSY, open(path, O_RDWR));
	child = fork();
	if (!child) {
		FAILS(EBUSY, open(path, O_RDWR));
		FAILS(EPERM, ioctl(fd, IXMAP_IOC_INFO, &info));
		FAILS(EPERM, (long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
		exit(0);
	}
	CHECK(waitpid(child, &status, 0) == child && status == 0);
	CHECK(ioctl(fd, IXMAP_IOC_INFO, &info) == 0);
}

static void drop_capability(int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	CHECK(syscall(SYS_capget, &header, data) == 0);
	data[capability / 32].effective &= ~(1u << capability % 32);
	CHECK(syscall(SYS_capset, &header, data) == 0);
}

static void probe_capability(void)
{
	close(fd);
	drop_capability(CAP_SYS_RAWIO);
	FAILS(EPERM, open(path, O_RDWR));
}

static void probe_bad(void)
{
	struct ixmap_dma_segment segment;
	void *nowhere = (void *)8, *good = memory(2 * PAGE, 0);
	uint32_t word = 0;

	FAILS(ENOTTY, ioctl(fd, _IO(IXMAP_IOC_MAGIC, 0), nowhere));
	FAILS(ENOTTY, ioctl(fd, _IO(IXMAP_IOC_MAGIC, 7), nowhere));
	/* Each of the commands, with an argument of another size. */
	FAILS(ENOTTY, ioctl(fd, _IOR(IXMAP_IOC_MAGIC, 0, uint64_t), nowhere));
	FAILS(ENOTTY, ioctl(fd, _IO(IXMAP_IOC_MAGIC, 1) | 4 << _IOC_SIZESHIFT, nowhere));
	FAILS(ENOTTY, ioctl(fd, _IOW(IXMAP_IOC_MAGIC, 2, uint64_t), nowhere));
	FAILS(ENOTTY, ioctl(fd, _IOWR(IXMAP_IOC_MAGIC, 3, struct ixmap_dma_unmap), nowhere));
	FAILS(ENOTTY, ioctl(fd, _IOW(IXMAP_IOC_MAGIC, 4, struct ixmap_dma_map), nowhere));
	FAILS(ENOTTY, ioctl(fd, _IOW(IXMAP_IOC_MAGIC, 5, uint64_t), nowhere));
	FAILS(ENOTTY, ioctl(fd, _IOWR(IXMAP_IOC_MAGIC, 6, uint64_t), nowhere));
	FAILS(ENOTTY, ioctl(fd, _IOR('T', 0, struct ixmap_info), nowhere));
	FAILS(EFAULT, ioctl(fd, IXMAP_IOC_INFO, nowhere));
	FAILS(EFAULT, ioctl(fd, IXMAP_IOC_MASTER, nowhere));
	FAILS(EFAULT, ioctl(fd, IXMAP_IOC_DMA_MAP, nowhere));
	FAILS(EFAULT, ioctl(fd, IXMAP_IOC_DMA_UNMAP, nowhere));
	FAILS(EFAULT, ioctl(fd, IXMAP_IOC_VECTORS, nowhere));
	FAILS(EFAULT, ioctl(fd, IXMAP_IOC_VECTOR, nowhere));
	FAILS(EINVAL, master(2));

	FAILS(EINVAL, map(good, 0, &segment, 1, NULL));
	FAILS(EINVAL, map(good + 1, PAGE, &segment, 1, NULL));
	FAILS(EINVAL, map(good, PAGE + 1, &segment, 1, NULL));
	FAILS(EINVAL, map(good, -PAGE, &segment, 1, NULL));
	FAILS(EINVAL, map((void *)-PAGE, 2 * PAGE, &segment, 1, NULL));
	FAILS(EINVAL, map(good, (64ul << 30) + PAGE, &segment, 1, NULL));
	FAILS(EFAULT, map((void *)-(2 * PAGE), PAGE, &segment, 1, NULL));
	FAILS(EFAULT, map(NULL, PAGE, &segment, 1, NULL));
	FAILS(EFAULT, map(good, PAGE, nowhere, 1, NULL));
	/* The map whose segments could not be told is not there. */
	FAILS(ENOENT, unmap(good, PAGE));
	CHECK(mprotect(good + PAGE, PAGE, PROT_READ) == 0);
	FAILS(EFAULT, map(good, 2 * PAGE, &segment, 1, NULL));
	FAILS(EINVAL, unmap(good, 0));
	FAILS(EINVAL, unmap(good + 1, PAGE));

	FAILS(EINVAL, vectors(65));
	FAILS(EINVAL, vectors(UINT32_MAX));
	FAILS(EINVAL, tie(0, -1, 0, NULL));
	CHECK(vectors(2) == 0);
	FAILS(EINVAL, tie(2, -1, 0, NULL));
	FAILS(EINVAL, tie(0, -2, 0, NULL));
	FAILS(EINVAL, tie(0, -1, 1, NULL));
	FAILS(EBADF, tie(0, 1000, 0, NULL));
	FAILS(EINVAL, tie(0, fd, 0, NULL));

	FAILS(EINVAL, read(fd, &word, sizeof(word)));
	FAILS(EINVAL, (long)mmap(NULL, BAR_SIZE + PAGE, PROT_READ, MAP_SHARED, fd, 0));
	FAILS(EINVAL, (long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, BAR_SIZE));
	FAILS(EINVAL, (long)mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
}

static void probe_memory(void)
{
	struct ixmap_dma_segment segments[64];
	char *huge = memory(4 * HUGE, MAP_HUGETLB), *small = memory(16 * PAGE, 0);
	uint32_t count;

	CHECK(map(huge, 2 * HUGE, segments, 64, &count) == 0);
	CHECK(count >= 1 && count <= 2 && total(segments, count) == 2 * HUGE);
	CHECK(segments[0].dma_address % PAGE == 0 && segments[0].length >= HUGE);
	printf("a hugepage: %#llx, %llu bytes\n", segments[0].dma_address, segments[0].length);
	FAILS(EEXIST, map(huge, 2 * HUGE, segments, 64, NULL));
	FAILS(EEXIST, map(huge + HUGE, 2 * HUGE, segments, 64, NULL));
	CHECK(map(huge + 2 * HUGE, HUGE, segments, 64, NULL) == 0);
	FAILS(ENOENT, unmap(huge, HUGE));
	FAILS(ENOENT, unmap(huge, 3 * HUGE));
	FAILS(ENOENT, unmap(huge + HUGE, HUGE));
	CHECK(unmap(huge, 2 * HUGE) == 0);
	FAILS(ENOENT, unmap(huge, 2 * HUGE));
	CHECK(map(huge, 2 * HUGE, segments, 64, NULL) == 0);

	FAILS(ENOSPC, map(small, 16 * PAGE, segments, 0, &count));
	CHECK(count >= 1 && count <= 16);
	CHECK(map(small, 16 * PAGE, segments, count, &count) == 0);
	CHECK(total(segments, count) == 16 * PAGE);
	CHECK(unmap(small, 16 * PAGE) == 0);
}

static void probe_many_maps(void)
{
	struct ixmap_dma_segment segment;
	char *pages = memory(1025 * PAGE, 0);

	for (int i = 0; i < 1024; i++)
		CHECK(map(pages + i * PAGE, PAGE, &segment, 1, NULL) == 0);
	FAILS(EMFILE, map(pages + 1024 * PAGE, PAGE, &segment, 1, NULL));
	CHECK(unmap(pages + 7 * PAGE, PAGE) == 0);
	CHECK(map(pages + 1024 * PAGE, PAGE, &segment, 1, NULL) == 0);
}

static void probe_memlock(void)
{
	struct rlimit limit = { .rlim_cur = 4 * PAGE, .rlim_max = 4 * PAGE };
	struct ixmap_dma_segment segments[8];
	char *pages = memory(8 * PAGE, 0);

	CHECK(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
	CHECK(map(pages, 5 * PAGE, segments, 8, NULL) == 0);
	CHECK(unmap(pages, 5 * PAGE) == 0);
	drop_capability(CAP_IPC_LOCK);
	for (int i = 0; i < 3; i++) {
		FAILS(ENOMEM, map(pages, 5 * PAGE, segments, 8, NULL));
		CHECK(map(pages, 4 * PAGE, segments, 8, NULL) == 0);
		FAILS(ENOMEM, map(pages + 4 * PAGE, PAGE, segments, 8, NULL));
		CHECK(unmap(pages, 4 * PAGE) == 0);
	}
}

/* Lets the card raise the vectors in `set`. */
static void interrupt(volatile uint32_t *bar, uint32_t set)
{
	bar[EICS] = set;
	/* A read waits for the write. */
	CHECK(bar[STATUS] != UINT32_MAX);
}

static void route_interrupts(volatile uint32_t *bar)
{
	CHECK(master(1) == 0);
	bar[GPIE] = 0x80000010;
	bar[IVAR] = 0x83828180;
	bar[EIAC] = 0x7;
	bar[EIMS] = 0x7;
}

static void probe_interrupts(void)
{
	volatile uint32_t *bar = registers();
	int event = eventfd(0, EFD_NONBLOCK), other = eventfd(0, EFD_NONBLOCK);
	struct pollfd card = { .fd = fd, .events = POLLIN };
	struct pollfd waiting = { .fd = event, .events = POLLIN };
	struct ixmap_event events[4];
	uint32_t irq;
	uint64_t count;

	CHECK(vectors(3) == 0);
	CHECK(tie(1, event, 0, &irq) == 0 && irq != 0);
	route_interrupts(bar);
	CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
	FAILS(EAGAIN, read(fd, events, sizeof(events)));
	CHECK(poll(&card, 1, 0) == 0);

	interrupt(bar, 1 << 1);
	CHECK(poll(&waiting, 1, -1) == 1 && read(event, &count, 8) == 8 && count == 1);
	FAILS(EAGAIN, read(fd, events, sizeof(events)));

	interrupt(bar, 1 << 2);
	CHECK(poll(&card, 1, -1) == 1 && card.revents == POLLIN);
	CHECK(read(fd, events, sizeof(events)) == sizeof(*events));
	CHECK(events[0].vector == 2 && events[0].count == 1);
	FAILS(EAGAIN, read(fd, events, sizeof(events)));
	CHECK(fcntl(fd, F_SETFL, 0) == 0);
	interrupt(bar, 1 << 0);
	CHECK(read(fd, events, sizeof(events)) == sizeof(*events) && events[0].vector == 0);

	/* Another eventfd takes the first one's place, then none. */
	CHECK(tie(1, other, 0, NULL) == 0);
	interrupt(bar, 1 << 1);
	waiting.fd = other;
	CHECK(poll(&waiting, 1, -1) == 1 && read(other, &count, 8) == 8 && count == 1);
	FAILS(EAGAIN, read(event, &count, 8));
	CHECK(tie(1, -1, 0, NULL) == 0);
	interrupt(bar, 1 << 1);
	CHECK(read(fd, events, sizeof(events)) == sizeof(*events) && events[0].vector == 1);

	/* Vectors outlive a reset, the card's own set-up does not. */
	CHECK(ioctl(fd, IXMAP_IOC_RESET) == 0);
	CHECK(bar[IVAR] != 0x83828180);
	route_interrupts(bar);
	interrupt(bar, 1 << 2);
	CHECK(read(fd, events, sizeof(events)) == sizeof(*events) && events[0].vector == 2);

	/* What nobody reads goes with its vector, or to the eventfd that comes. */
	interrupt(bar, 1 << 0 | 1 << 1);
	CHECK(poll(&card, 1, -1) == 1 && tie(0, event, 0, NULL) == 0);
	waiting.fd = event;
	CHECK(poll(&waiting, 1, -1) == 1 && read(event, &count, 8) == 8 && count == 1);
	CHECK(poll(&card, 1, -1) == 1 && vectors(64) == 0 && poll(&card, 1, 0) == 0);
	CHECK(vectors(1) == 0 && vectors(0) == 0);
	printf("irq %u\n", irq);
}

static void write_file(const char *name, const char *text)
{
	int file = open(name, O_WRONLY);

	CHECK(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
	close(file);
}

/* The owner takes the device away from itself, by the file and with the text of the arguments. */
static void probe_revoked(const char *file, const char *text)
{
	volatile uint32_t *bar = registers();
	char *huge = memory(HUGE, MAP_HUGETLB);
	int event = eventfd(0, EFD_NONBLOCK);
	struct pollfd card = { .fd = fd, .events = POLLIN };
	struct ixmap_dma_segment segments[1];
	struct ixmap_event events[1];
	struct ixmap_info info;
	uint64_t count;

	CHECK(map(huge, HUGE, segments, 1, NULL) == 0);
	CHECK(vectors(2) == 0 && tie(0, event, 0, NULL) == 0);
	route_interrupts(bar);
	CHECK(bar[STATUS] != UINT32_MAX);
	write_file(file, text);

	CHECK(bar[STATUS] == UINT32_MAX);
	bar[LEDCTL] = 0;
	CHECK(bar[STATUS] == UINT32_MAX);
	for (size_t i = 0; i < BAR_SIZE / 4; i += PAGE / 4)
		CHECK(bar[i] == UINT32_MAX);
	FAILS(ENODEV, ioctl(fd, IXMAP_IOC_INFO, &info));
	FAILS(ENODEV, ioctl(fd, IXMAP_IOC_RESET));
	FAILS(ENODEV, master(1));
	FAILS(ENODEV, map(huge, HUGE, segments, 1, NULL));
	FAILS(ENODEV, unmap(huge, HUGE));
	FAILS(ENODEV, vectors(1));
	FAILS(ENODEV, tie(0, -1, 0, NULL));
	FAILS(ENODEV, read(fd, events, sizeof(events)));
	FAILS(ENODEV, (long)mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
	CHECK(poll(&card, 1, -1) == 1 && card.revents == POLLHUP);
	CHECK(read(event, &count, 8) == 8 && count == 1);
}

/* Takes everything there is, and says so. */
static volatile uint32_t *take_all(void)
{
	volatile uint32_t *bar = registers();
	struct ixmap_dma_segment segments[4];
	char *huge = memory(4 * HUGE, MAP_HUGETLB);

	CHECK(map(huge, 4 * HUGE, segments, 4, NULL) == 0);
	CHECK(vectors(4) == 0);
	route_interrupts(bar);
	puts("holding");
	fflush(stdout);
	return bar;
}

/* Holds everything until its end. */
static void hold(void)
{
	take_all();
	pause();
}

/* Holds everything while somebody pulls the card, and until its end. */
static void outlive(void)
{
	volatile uint32_t *bar = take_all();
	struct ixmap_info info;

	/* Nothing revokes these pages: it is the card that no longer answers. */
	while (bar[STATUS] != UINT32_MAX)
		usleep(1000);
	for (size_t i = 0; i < BAR_SIZE / 4; i += PAGE / 4)
		CHECK(bar[i] == UINT32_MAX);
	bar[LEDCTL] = 0;
	CHECK(bar[LEDCTL] == UINT32_MAX);
	FAILS(ENODEV, ioctl(fd, IXMAP_IOC_RESET));
	CHECK(ioctl(fd, IXMAP_IOC_INFO, &info) == 0 && master(0) == 0);
	puts("all ones");
	fflush(stdout);
	pause();
}

int main(int argc, char **argv)
{
	const char *command = argc > 2 ? argv[1] : "";

	path = argv[2];
	fd = open(path, O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	if (!strcmp(command, "info"))
		probe_info();
	else if (!strcmp(command, "registers"))
		probe_registers();
	else if (!strcmp(command, "owner"))
		probe_owner();
	else if (!strcmp(command, "capability"))
		probe_capability();
	else if (!strcmp(command, "bad"))
		probe_bad();
	else if (!strcmp(command, "memory"))
		probe_memory();
	else if (!strcmp(command, "many-maps"))
		probe_many_maps();
	else if (!strcmp(command, "memlock"))
		probe_memlock();
	else if (!strcmp(command, "interrupts"))
		probe_interrupts();
	else if (!strcmp(command, "revoked") && argc == 5)
		probe_revoked(argv[3], argv[4]);
	else if (!strcmp(command, "hold"))
		hold();
	else if (!strcmp(command, "outlive"))
		outlive();
	else
		return 2;
	printf("%s: as promised\n", command);
	return 0;
}
