// SPDX-License-Identifier: GPL-2.0
/*
 * MSI-X vectors: each is counted for read(), or signals the eventfd that the owner tied it to.
 */
#include <linux/err.h>
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ixmap_priv.h"

/* The most that one read() returns: as many as a device of the family has vectors. */
#define IXMAP_EVENTS	64

/* A vector in use. */
struct ixmap_irq {
	struct ixmap *ix;
	spinlock_t lock;		/* guards the next two against the handler */
	struct eventfd_ctx *eventfd;
	u32 count;
	int number;
	char *name;
};

static irqreturn_t ixmap_interrupt(int number, void *data)
{
	struct ixmap_irq *irq = data;
	unsigned long flags;

	spin_lock_irqsave(&irq->lock, flags);
	if (irq->eventfd) {
		ixmap_eventfd_signal(irq->eventfd);
	} else {
		if (!irq->count)
			atomic_inc(&irq->ix->fired);
		if (irq->count < U32_MAX)
			irq->count++;
		wake_up_interruptible(&irq->ix->wait);
	}
	spin_unlock_irqrestore(&irq->lock, flags);
	return IRQ_HANDLED;
}

/* The count since it was taken last; irq->lock is held. */
static u32 ixmap_take_count(struct ixmap_irq *irq)
{
	u32 count = irq->count;

	if (count)
		atomic_dec(&irq->ix->fired);
	irq->count = 0;
	return count;
}

static int ixmap_irq_init(struct ixmap *ix, struct ixmap_irq *irq, u32 vector)
{
	int error;

	irq->ix = ix;
	spin_lock_init(&irq->lock);
	irq->number = pci_irq_vector(ix->pdev, vector);
	irq->name = kasprintf(GFP_KERNEL, "ixmap[%u](%s)", vector, pci_name(ix->pdev));
	if (!irq->name)
		return -ENOMEM;
	error = request_irq(irq->number, ixmap_interrupt, 0, irq->name, irq);
	if (error)
		kfree(irq->name);
	return error;
}

static void ixmap_irq_release(struct ixmap_irq *irq)
{
	free_irq(irq->number, irq);
	if (irq->eventfd) {
		/* Whoever sleeps on it shall look why there is nothing to come any more. */
		ixmap_eventfd_signal(irq->eventfd);
		eventfd_ctx_put(irq->eventfd);
	}
	kfree(irq->name);
}

void ixmap_irqs_release(struct ixmap *ix)
{
	if (!ix->irqs)
		return;
	while (ix->irq_count)
		ixmap_irq_release(&ix->irqs[--ix->irq_count]);
	/* This lets the line interrupt again, see ixmap_probe(). */
	pci_free_irq_vectors(ix->pdev);
	pci_intx(ix->pdev, 0);
	kfree(ix->irqs);
	ix->irqs = NULL;
	atomic_set(&ix->fired, 0);
}

/* Allocates exactly this many vectors; there are none yet. */
static int ixmap_irqs_allocate(struct ixmap *ix, u32 count)
{
	int result;

	ix->irqs = kcalloc(count, sizeof(*ix->irqs), GFP_KERNEL_ACCOUNT);
	if (!ix->irqs)
		return -ENOMEM;
	result = pci_alloc_irq_vectors(ix->pdev, count, count, PCI_IRQ_MSIX);
	if (result < 0) {
		kfree(ix->irqs);
		ix->irqs = NULL;
		return result;
	}
	while (ix->irq_count < count) {
		result = ixmap_irq_init(ix, &ix->irqs[ix->irq_count], ix->irq_count);
		if (result) {
			ixmap_irqs_release(ix);
			return result;
		}
		ix->irq_count++;
	}
	return 0;
}

int ixmap_vectors(struct ixmap *ix, const __u32 __user *user)
{
	int error = 0;
	u32 count;

	if (get_user(count, user))
		return -EFAULT;
	mutex_lock(&ix->lock);
	if (ix->gone) {
		error = -ENODEV;
	} else if ((int)count < 0 || (int)count > pci_msix_vec_count(ix->pdev)) {
		error = -EINVAL;
	} else {
		ixmap_irqs_release(ix);
		if (count)
			error = ixmap_irqs_allocate(ix, count);
	}
	mutex_unlock(&ix->lock);
	return error;
}

/* Ties a vector to an eventfd, or to none; a reference to the eventfd goes with it. */
static int ixmap_irq_tie(struct ixmap *ix, struct ixmap_vector *vector,
			 struct eventfd_ctx **eventfd)
{
	struct ixmap_irq *irq;

	if (ix->gone)
		return -ENODEV;
	if (vector->vector >= ix->irq_count)
		return -EINVAL;
	irq = &ix->irqs[vector->vector];
	vector->irq = irq->number;
	spin_lock_irq(&irq->lock);
	swap(irq->eventfd, *eventfd);
	/* What was counted until now and not read is the eventfd's. */
	if (irq->eventfd && ixmap_take_count(irq))
		ixmap_eventfd_signal(irq->eventfd);
	spin_unlock_irq(&irq->lock);
	return 0;
}

int ixmap_vector(struct ixmap *ix, struct ixmap_vector __user *user)
{
	struct eventfd_ctx *eventfd = NULL;
	struct ixmap_vector vector;
	int error;

	if (copy_from_user(&vector, user, sizeof(vector)))
		return -EFAULT;
	if (vector.reserved || vector.eventfd < -1)
		return -EINVAL;
	if (vector.eventfd >= 0) {
		eventfd = eventfd_ctx_fdget(vector.eventfd);
		if (IS_ERR(eventfd))
			return PTR_ERR(eventfd);
	}
	mutex_lock(&ix->lock);
	error = ixmap_irq_tie(ix, &vector, &eventfd);
	mutex_unlock(&ix->lock);
	/* The one there was before, or the new one when it was not taken. */
	if (eventfd)
		eventfd_ctx_put(eventfd);
	if (error)
		return error;
	return put_user(vector.irq, &user->irq);
}

/* Moves counts of vectors into `events`, at most `room`. */
static size_t ixmap_collect(struct ixmap *ix, struct ixmap_event *events, size_t room)
{
	size_t found = 0;
	u32 i;

	for (i = 0; i < ix->irq_count && found < room; i++) {
		struct ixmap_irq *irq = &ix->irqs[i];

		spin_lock_irq(&irq->lock);
		events[found].vector = i;
		events[found].count = ixmap_take_count(irq);
		spin_unlock_irq(&irq->lock);
		if (events[found].count)
			found++;
	}
	return found;
}

ssize_t ixmap_read(struct file *file, char __user *buffer, size_t length, loff_t *offset)
{
	struct ixmap_event events[IXMAP_EVENTS];
	struct ixmap *ix = file->private_data;
	size_t room, found;
	int error;

	if (current->mm != ix->mm)
		return -EPERM;
	room = min_t(size_t, length / sizeof(*events), IXMAP_EVENTS);
	if (!room)
		return -EINVAL;
	for (;;) {
		mutex_lock(&ix->lock);
		error = ix->gone ? -ENODEV : 0;
		found = error ? 0 : ixmap_collect(ix, events, room);
		mutex_unlock(&ix->lock);
		if (error)
			return error;
		if (found)
			break;
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		error = wait_event_interruptible(ix->wait, atomic_read(&ix->fired) ||
						 READ_ONCE(ix->gone));
		if (error)
			return error;
	}
	if (copy_to_user(buffer, events, found * sizeof(*events)))
		return -EFAULT;
	return found * sizeof(*events);
}

__poll_t ixmap_poll(struct file *file, struct poll_table_struct *table)
{
	struct ixmap *ix = file->private_data;

	poll_wait(file, &ix->wait, table);
	if (READ_ONCE(ix->gone))
		return EPOLLHUP;
	return atomic_read(&ix->fired) ? EPOLLIN | EPOLLRDNORM : 0;
}
