// SPDX-License-Identifier: GPL-2.0
/*
 * The owner's memory as the device sees it: pinned, charged to RLIMIT_MEMLOCK and mapped through
 * the DMA API, so that an IOMMU, where there is one, lets the device at this memory and no other.
 */
#include <linux/dma-mapping.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ixmap_priv.h"

/* Enough for a router's packets many times over, and a bound for what one call has to do. */
#define IXMAP_MAX_MAPPINGS	1024
#define IXMAP_MAX_LENGTH	(64ULL << 30)

/* One map of the owner's. */
struct ixmap_mapping {
	struct list_head list;
	u64 address;
	u64 length;
	struct page **pages;
	unsigned long pinned;
	struct sg_table table;
};

static void ixmap_unpin(struct ixmap *ix, struct ixmap_mapping *mapping)
{
	unpin_user_pages_dirty_lock(mapping->pages, mapping->pinned, true);
	account_locked_vm(ix->mm, mapping->length >> PAGE_SHIFT, false);
	kvfree(mapping->pages);
	kfree(mapping);
}

/* Pins the caller's memory; the device does not see it yet. */
static struct ixmap_mapping *ixmap_pin(struct ixmap *ix, u64 address, u64 length)
{
	unsigned long count = length >> PAGE_SHIFT;
	struct ixmap_mapping *mapping;
	int result;

	mapping = kzalloc(sizeof(*mapping), GFP_KERNEL_ACCOUNT);
	if (!mapping)
		return ERR_PTR(-ENOMEM);
	mapping->address = address;
	mapping->length = length;
	result = account_locked_vm(ix->mm, count, true);
	if (result)
		goto free_mapping;
	mapping->pages = kvmalloc_array(count, sizeof(*mapping->pages), GFP_KERNEL_ACCOUNT);
	if (!mapping->pages) {
		account_locked_vm(ix->mm, count, false);
		result = -ENOMEM;
		goto free_mapping;
	}
	while (mapping->pinned < count) {
		result = pin_user_pages_fast(address + (mapping->pinned << PAGE_SHIFT),
					     count - mapping->pinned, FOLL_WRITE | FOLL_LONGTERM,
					     mapping->pages + mapping->pinned);
		if (result <= 0) {
			ixmap_unpin(ix, mapping);
			return ERR_PTR(result ? result : -EFAULT);
		}
		mapping->pinned += result;
	}
	return mapping;

free_mapping:
	kfree(mapping);
	return ERR_PTR(result);
}

/* Takes a mapping from the device. */
static void ixmap_take_away(struct ixmap *ix, struct ixmap_mapping *mapping)
{
	dma_unmap_sgtable(&ix->pdev->dev, &mapping->table, DMA_BIDIRECTIONAL, 0);
	sg_free_table(&mapping->table);
}

/* Shows a mapping to the device. */
static int ixmap_give(struct ixmap *ix, struct ixmap_mapping *mapping)
{
	int error;

	error = sg_alloc_table_from_pages(&mapping->table, mapping->pages, mapping->pinned, 0,
					  mapping->length, GFP_KERNEL_ACCOUNT);
	if (error)
		return error;
	error = dma_map_sgtable(&ix->pdev->dev, &mapping->table, DMA_BIDIRECTIONAL, 0);
	if (error)
		sg_free_table(&mapping->table);
	return error;
}

static struct ixmap_dma_segment *ixmap_segments(struct ixmap_mapping *mapping)
{
	struct ixmap_dma_segment *segments;
	struct scatterlist *sg;
	unsigned int i;

	segments = kvmalloc_array(mapping->table.nents, sizeof(*segments), GFP_KERNEL);
	if (!segments)
		return NULL;
	for_each_sgtable_dma_sg(&mapping->table, sg, i) {
		segments[i].dma_address = sg_dma_address(sg);
		segments[i].length = sg_dma_len(sg);
	}
	return segments;
}

static bool ixmap_overlaps(struct ixmap *ix, u64 address, u64 length)
{
	struct ixmap_mapping *mapping;

	list_for_each_entry(mapping, &ix->mappings, list) {
		if (address < mapping->address + mapping->length &&
		    mapping->address < address + length)
			return true;
	}
	return false;
}

/* Shows pinned memory to the device and enters it into the list; lock is held. */
static int ixmap_enter(struct ixmap *ix, struct ixmap_mapping *mapping, struct ixmap_dma_map *map,
		       struct ixmap_dma_segment **segments)
{
	int error;

	if (ix->gone)
		return -ENODEV;
	if (ixmap_overlaps(ix, mapping->address, mapping->length))
		return -EEXIST;
	if (ix->mapping_count >= IXMAP_MAX_MAPPINGS)
		return -EMFILE;
	error = ixmap_give(ix, mapping);
	if (error)
		return error;
	map->count = mapping->table.nents;
	if (map->count > map->room) {
		error = -ENOSPC;
		goto take_away;
	}
	*segments = ixmap_segments(mapping);
	if (!*segments) {
		error = -ENOMEM;
		goto take_away;
	}
	list_add_tail(&mapping->list, &ix->mappings);
	ix->mapping_count++;
	return 0;

take_away:
	ixmap_take_away(ix, mapping);
	return error;
}

static void ixmap_drop(struct ixmap *ix, struct ixmap_mapping *mapping)
{
	list_del(&mapping->list);
	ix->mapping_count--;
	ixmap_take_away(ix, mapping);
	ixmap_unpin(ix, mapping);
}

/* Drops the mapping of exactly this memory. */
static int ixmap_drop_named(struct ixmap *ix, u64 address, u64 length)
{
	struct ixmap_mapping *mapping;
	int error = -ENOENT;

	mutex_lock(&ix->lock);
	if (ix->gone)
		error = -ENODEV;
	list_for_each_entry(mapping, &ix->mappings, list) {
		if (mapping->address == address && mapping->length == length) {
			ixmap_drop(ix, mapping);
			error = 0;
			break;
		}
	}
	mutex_unlock(&ix->lock);
	return error;
}

static int ixmap_check_range(u64 address, u64 length)
{
	u64 end;

	if (!length || length > IXMAP_MAX_LENGTH || !PAGE_ALIGNED(address | length))
		return -EINVAL;
	return check_add_overflow(address, length, &end) ? -EINVAL : 0;
}

int ixmap_dma_map(struct ixmap *ix, struct ixmap_dma_map __user *user)
{
	struct ixmap_dma_segment *segments = NULL;
	struct ixmap_mapping *mapping;
	struct ixmap_dma_map map;
	int error;

	if (copy_from_user(&map, user, sizeof(map)))
		return -EFAULT;
	error = ixmap_check_range(map.address, map.length);
	if (error)
		return error;
	/* Faults of the owner's may take long, so they happen without the lock. */
	mapping = ixmap_pin(ix, map.address, map.length);
	if (IS_ERR(mapping))
		return PTR_ERR(mapping);
	mutex_lock(&ix->lock);
	error = ixmap_enter(ix, mapping, &map, &segments);
	mutex_unlock(&ix->lock);
	if (error) {
		ixmap_unpin(ix, mapping);
		if (error == -ENOSPC && put_user(map.count, &user->count))
			return -EFAULT;
		return error;
	}
	if (copy_to_user(u64_to_user_ptr(map.segments), segments, map.count * sizeof(*segments)) ||
	    put_user(map.count, &user->count)) {
		ixmap_drop_named(ix, map.address, map.length);
		error = -EFAULT;
	}
	kvfree(segments);
	return error;
}

int ixmap_dma_unmap(struct ixmap *ix, struct ixmap_dma_unmap __user *user)
{
	struct ixmap_dma_unmap unmap;
	int error;

	if (copy_from_user(&unmap, user, sizeof(unmap)))
		return -EFAULT;
	error = ixmap_check_range(unmap.address, unmap.length);
	if (error)
		return error;
	return ixmap_drop_named(ix, unmap.address, unmap.length);
}

/* Drops all mappings; the device must be past reaching for any. */
void ixmap_dma_release(struct ixmap *ix)
{
	struct ixmap_mapping *mapping, *next;

	list_for_each_entry_safe(mapping, next, &ix->mappings, list)
		ixmap_drop(ix, mapping);
}
