/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module's files share: the device, and who may touch which of its fields.
 *
 *   main.c    the PCI driver, the character device, its registers in user space
 *   dma.c     the owner's memory, pinned and mapped for the device
 *   irq.c     MSI-X vectors, eventfds, read() and poll()
 *
 * Locks, outermost first: the PCI device's own (driver core, function resets), lock, mmap_lock
 * of the owner, fault_lock. The interrupt handler takes ixmap_irq.lock only.
 */
#ifndef IXMAP_PRIV_H
#define IXMAP_PRIV_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/wait.h>
#include <linux/xarray.h>

#include "compat.h"
#include "ixmap.h"

struct ixmap_irq;

struct ixmap {
	struct pci_dev *pdev;
	struct device dev;
	struct cdev cdev;
	unsigned long bar_pfn;
	resource_size_t bar_size;

	/* Guards what follows, up to the next comment. */
	struct mutex lock;
	bool open;
	struct address_space *mapping;	/* the owner's registers, to be zapped */
	struct list_head mappings;	/* of struct ixmap_mapping, dma.c */
	unsigned int mapping_count;
	struct ixmap_irq *irqs;
	u32 irq_count;

	/* The owner's, held from open to release: it may be read without a lock in between. */
	struct mm_struct *mm;

	/* Unbound or pulled. Written under lock and fault_lock, so either suffices to read it. */
	bool gone;

	/* Guards what page faults on the registers look at. */
	struct mutex fault_lock;
	struct xarray ghosts;		/* of pages of all ones */

	/* Sleepers in read() and poll(), and how many vectors have counts for read(). */
	wait_queue_head_t wait;
	atomic_t fired;
};

/* dma.c; the caller holds lock for ixmap_dma_release() alone. */
int ixmap_dma_map(struct ixmap *ix, struct ixmap_dma_map __user *user);
int ixmap_dma_unmap(struct ixmap *ix, struct ixmap_dma_unmap __user *user);
void ixmap_dma_release(struct ixmap *ix);

/* irq.c; the caller holds lock for ixmap_irqs_release() alone. */
int ixmap_vectors(struct ixmap *ix, const __u32 __user *user);
int ixmap_vector(struct ixmap *ix, struct ixmap_vector __user *user);
void ixmap_irqs_release(struct ixmap *ix);
ssize_t ixmap_read(struct file *file, char __user *buffer, size_t length, loff_t *offset);
__poll_t ixmap_poll(struct file *file, struct poll_table_struct *table);

#endif /* IXMAP_PRIV_H */
