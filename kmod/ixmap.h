/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * What ixmap.ko and its one user in user space say to each other through /dev/ixmapN.
 *
 *   open()   one owner at a time (EBUSY); CAP_SYS_RAWIO (EPERM). The function has been reset, its
 *            bus mastering is off and it has no vectors.
 *   mmap()   the register BAR (BAR 0) at offset 0, uncached, shared, whole or in part.
 *   ioctl()  the rest, below.
 *   read()   an array of struct ixmap_event: the vectors that fired since the last read, with
 *            counts; EAGAIN with O_NONBLOCK when none did. poll() says POLLIN when one has, and
 *            POLLHUP once the device is gone.
 *   close()  bus mastering off, function reset, vectors freed, memory unmapped and unpinned, in
 *            this order: also when the owner crashed.
 *
 * ioctl(), mmap() and read() are for the process that opened (EPERM); ioctls that are none fail with
 * ENOTTY, pointers to nowhere with EFAULT, values that make no sense with EINVAL.
 *
 * A device that is unbound or pulled while it is open: ioctls, reads and mmap() fail with ENODEV,
 * every eventfd is signalled once more, and registers read as all ones, but for those that are
 * written afterwards.
 */
#ifndef _UAPI_IXMAP_H
#define _UAPI_IXMAP_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Counts up when anything below changes its meaning. */
#define IXMAP_ABI 1

struct ixmap_info {
	__u32 abi;
	__u32 domain;
	__u8 bus;
	__u8 device;
	__u8 function;
	__u8 revision;
	__u16 vendor_id;
	__u16 device_id;
	__u16 subsystem_vendor_id;
	__u16 subsystem_device_id;
	__s32 numa_node;	/* -1: none */
	__u32 vectors;		/* MSI-X vectors that the device has */
	__u32 reserved;
	__u64 bar_size;		/* bytes that mmap() takes */
};

/* A piece of memory that is contiguous for the device. */
struct ixmap_dma_segment {
	__u64 dma_address;
	__u64 length;
};

/*
 * Pins [address, address + length), both multiples of the page size, for reading and writing by
 * the device, and writes its segments in order. ENOSPC when there are more than `room`: `count`
 * then says how many, and nothing is mapped. EEXIST when it overlaps what is mapped already, EFAULT
 * when it is not all the caller's writable memory, ENOMEM beyond RLIMIT_MEMLOCK (but for
 * CAP_IPC_LOCK), EMFILE beyond 1024 maps, EINVAL beyond 64 GiB in one.
 */
struct ixmap_dma_map {
	__u64 address;
	__u64 length;
	__u64 segments;		/* user pointer to `room` struct ixmap_dma_segment */
	__u32 room;
	__u32 count;		/* out */
};

/* Undoes one map, named by its address and length; ENOENT when there is no such map. */
struct ixmap_dma_unmap {
	__u64 address;
	__u64 length;
};

/*
 * Ties a vector to an eventfd, or to none (-1). A vector with an eventfd is not seen by read().
 * EINVAL when it is not one of those allocated, EBADF or EINVAL when the file is no eventfd.
 */
struct ixmap_vector {
	__u32 vector;
	__s32 eventfd;
	__u32 irq;		/* out: its number in /proc/irq */
	__u32 reserved;
};

struct ixmap_event {
	__u32 vector;
	__u32 count;
};

#define IXMAP_IOC_MAGIC 0xB2

#define IXMAP_IOC_INFO		_IOR(IXMAP_IOC_MAGIC, 0, struct ixmap_info)
/* Function reset; DMA and vectors stay set up, registers do not. */
#define IXMAP_IOC_RESET		_IO(IXMAP_IOC_MAGIC, 1)
/* Bus mastering: 1 on, 0 off. */
#define IXMAP_IOC_MASTER	_IOW(IXMAP_IOC_MAGIC, 2, __u32)
#define IXMAP_IOC_DMA_MAP	_IOWR(IXMAP_IOC_MAGIC, 3, struct ixmap_dma_map)
#define IXMAP_IOC_DMA_UNMAP	_IOW(IXMAP_IOC_MAGIC, 4, struct ixmap_dma_unmap)
/*
 * Allocates this many MSI-X vectors, instead of those there were; 0 frees them. EINVAL when the
 * device has fewer, ENOSPC when the machine has.
 */
#define IXMAP_IOC_VECTORS	_IOW(IXMAP_IOC_MAGIC, 5, __u32)
#define IXMAP_IOC_VECTOR	_IOWR(IXMAP_IOC_MAGIC, 6, struct ixmap_vector)

#endif /* _UAPI_IXMAP_H */
