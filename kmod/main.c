// SPDX-License-Identifier: GPL-2.0
/*
 * ixmap: a network card's registers, memory and interrupts for one program in user space.
 *
 * The module knows nothing of the card's registers: the driver is the program. What it sees to is
 * that the card is at rest whenever the program is not there, however that came about, and that
 * neither touches memory that is not the program's. ixmap.h says how the two talk.
 */
#include <linux/capability.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sched/mm.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "ixmap_priv.h"

#define IXMAP_MINORS	256
#define IXMAP_BAR	0

static dev_t ixmap_first;
static DEFINE_IDA(ixmap_minors);
static struct class ixmap_class = { .name = "ixmap" };

/* Whether an IOMMU keeps the device to the memory that is mapped for it. */
static bool ixmap_confined(struct ixmap *ix)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&ix->pdev->dev);

	return domain && domain->type != IOMMU_DOMAIN_IDENTITY;
}

/* Resets the function; the caller holds the PCI device's lock. */
static int ixmap_reset(struct ixmap *ix)
{
	int error;

	/* A card that was pulled is at rest, and a reset would wait a minute for it. */
	if (!pci_device_is_present(ix->pdev))
		return -ENODEV;
	pci_cfg_access_lock(ix->pdev);
	error = pci_reset_function_locked(ix->pdev);
	pci_cfg_access_unlock(ix->pdev);
	if (error)
		dev_err(&ix->dev, "the function cannot be reset (%d)\n", error);
	return error;
}

/*
 * Puts the device to rest and takes everything of the owner's from it, in the order in which it
 * cannot reach what is gone. The caller holds the PCI device's lock and ix->lock.
 */
static void ixmap_rest(struct ixmap *ix)
{
	pci_clear_master(ix->pdev);
	ixmap_reset(ix);
	ixmap_irqs_release(ix);
	ixmap_dma_release(ix);
}

static int ixmap_open(struct inode *inode, struct file *file)
{
	struct ixmap *ix = container_of(inode->i_cdev, struct ixmap, cdev);
	int error;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	device_lock(&ix->pdev->dev);
	mutex_lock(&ix->lock);
	if (ix->gone) {
		error = -ENODEV;
		goto unlock;
	}
	if (ix->open) {
		error = -EBUSY;
		goto unlock;
	}
	/* Without an IOMMU the card reaches all memory, which a locked-down kernel forbids. */
	error = ixmap_confined(ix) ? 0 : security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (error)
		goto unlock;
	pci_clear_master(ix->pdev);
	error = ixmap_reset(ix);
	if (error)
		goto unlock;
	ix->open = true;
	ix->mapping = file->f_mapping;
	mmgrab(current->mm);
	ix->mm = current->mm;
	file->private_data = ix;
	error = stream_open(inode, file);
unlock:
	mutex_unlock(&ix->lock);
	device_unlock(&ix->pdev->dev);
	return error;
}

static int ixmap_release(struct inode *inode, struct file *file)
{
	struct ixmap *ix = file->private_data;

	device_lock(&ix->pdev->dev);
	mutex_lock(&ix->lock);
	/* Of a device that is gone nothing is left; another driver may have it already. */
	if (!ix->gone)
		ixmap_rest(ix);
	mmdrop(ix->mm);
	ix->mm = NULL;
	ix->mapping = NULL;
	ix->open = false;
	mutex_unlock(&ix->lock);
	device_unlock(&ix->pdev->dev);
	return 0;
}

static long ixmap_ioctl_info(struct ixmap *ix, void __user *user)
{
	struct pci_dev *pdev = ix->pdev;
	int vectors = pci_msix_vec_count(pdev);
	struct ixmap_info info = {
		.abi = IXMAP_ABI,
		.domain = pci_domain_nr(pdev->bus),
		.bus = pdev->bus->number,
		.device = PCI_SLOT(pdev->devfn),
		.function = PCI_FUNC(pdev->devfn),
		.revision = pdev->revision,
		.vendor_id = pdev->vendor,
		.device_id = pdev->device,
		.subsystem_vendor_id = pdev->subsystem_vendor,
		.subsystem_device_id = pdev->subsystem_device,
		.numa_node = dev_to_node(&pdev->dev),
		.vectors = max(vectors, 0),
		.bar_size = ix->bar_size,
	};

	return copy_to_user(user, &info, sizeof(info)) ? -EFAULT : 0;
}

static long ixmap_ioctl_reset(struct ixmap *ix)
{
	int error;

	device_lock(&ix->pdev->dev);
	mutex_lock(&ix->lock);
	error = ix->gone ? -ENODEV : ixmap_reset(ix);
	mutex_unlock(&ix->lock);
	device_unlock(&ix->pdev->dev);
	return error;
}

static long ixmap_ioctl_master(struct ixmap *ix, const __u32 __user *user)
{
	int error = 0;
	u32 on;

	if (get_user(on, user))
		return -EFAULT;
	if (on > 1)
		return -EINVAL;
	mutex_lock(&ix->lock);
	if (ix->gone)
		error = -ENODEV;
	else if (on)
		pci_set_master(ix->pdev);
	else
		pci_clear_master(ix->pdev);
	mutex_unlock(&ix->lock);
	return error;
}

static long ixmap_ioctl(struct file *file, unsigned int command, unsigned long argument)
{
	struct ixmap *ix = file->private_data;
	void __user *user = (void __user *)argument;

	/* Its memory is the owner's, so a process that inherited the file has no say. */
	if (current->mm != ix->mm)
		return -EPERM;
	/* Each command looks again under its lock; this answers before it looks at the argument. */
	if (READ_ONCE(ix->gone))
		return -ENODEV;
	switch (command) {
	case IXMAP_IOC_INFO:
		return ixmap_ioctl_info(ix, user);
	case IXMAP_IOC_RESET:
		return ixmap_ioctl_reset(ix);
	case IXMAP_IOC_MASTER:
		return ixmap_ioctl_master(ix, user);
	case IXMAP_IOC_DMA_MAP:
		return ixmap_dma_map(ix, user);
	case IXMAP_IOC_DMA_UNMAP:
		return ixmap_dma_unmap(ix, user);
	case IXMAP_IOC_VECTORS:
		return ixmap_vectors(ix, user);
	case IXMAP_IOC_VECTOR:
		return ixmap_vector(ix, user);
	default:
		return -ENOTTY;
	}
}

/*
 * The page of all ones that stands in for a page of registers once the device is gone. Each has
 * its own, so that what is written to one register afterwards does not show in others.
 */
static struct page *ixmap_ghost(struct ixmap *ix, unsigned long index)
{
	struct page *page = xa_load(&ix->ghosts, index);

	if (page)
		return page;
	page = alloc_page(GFP_KERNEL_ACCOUNT);
	if (!page)
		return NULL;
	memset(page_address(page), 0xff, PAGE_SIZE);
	if (xa_err(xa_store(&ix->ghosts, index, page, GFP_KERNEL))) {
		__free_page(page);
		return NULL;
	}
	return page;
}

static vm_fault_t ixmap_fault(struct vm_fault *vmf)
{
	struct ixmap *ix = vmf->vma->vm_private_data;
	unsigned long pfn = ix->bar_pfn + vmf->pgoff;
	vm_fault_t result = VM_FAULT_OOM;
	struct page *ghost;

	mutex_lock(&ix->fault_lock);
	if (ix->gone) {
		ghost = ixmap_ghost(ix, vmf->pgoff);
		if (!ghost)
			goto unlock;
		pfn = page_to_pfn(ghost);
	}
	result = vmf_insert_pfn(vmf->vma, vmf->address, pfn);
unlock:
	mutex_unlock(&ix->fault_lock);
	return result;
}

static const struct vm_operations_struct ixmap_vm_operations = {
	.fault = ixmap_fault,
};

static int ixmap_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct ixmap *ix = file->private_data;
	unsigned long bar_pages = ix->bar_size >> PAGE_SHIFT;

	if (current->mm != ix->mm)
		return -EPERM;
	if (READ_ONCE(ix->gone))
		return -ENODEV;
	if (!(vma->vm_flags & VM_SHARED) || vma->vm_pgoff >= bar_pages ||
	    vma_pages(vma) > bar_pages - vma->vm_pgoff)
		return -EINVAL;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY);
	vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	vma->vm_private_data = ix;
	vma->vm_ops = &ixmap_vm_operations;
	return 0;
}

static const struct file_operations ixmap_operations = {
	.owner = THIS_MODULE,
	.open = ixmap_open,
	.release = ixmap_release,
	.unlocked_ioctl = ixmap_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.mmap = ixmap_mmap,
	.read = ixmap_read,
	.poll = ixmap_poll,
};

/* The last reference is gone: the driver's, or that of a file which outlived it. */
static void ixmap_free(struct device *dev)
{
	struct ixmap *ix = container_of(dev, struct ixmap, dev);
	struct page *ghost;
	unsigned long index;

	xa_for_each(&ix->ghosts, index, ghost)
		__free_page(ghost);
	xa_destroy(&ix->ghosts);
	ida_free(&ixmap_minors, MINOR(dev->devt));
	pci_dev_put(ix->pdev);
	kfree(ix);
}

static struct ixmap *ixmap_new(struct pci_dev *pdev)
{
	struct ixmap *ix = kzalloc(sizeof(*ix), GFP_KERNEL);
	int minor;

	if (!ix)
		return ERR_PTR(-ENOMEM);
	minor = ida_alloc_max(&ixmap_minors, IXMAP_MINORS - 1, GFP_KERNEL);
	if (minor < 0) {
		kfree(ix);
		return ERR_PTR(minor);
	}
	ix->pdev = pci_dev_get(pdev);
	mutex_init(&ix->lock);
	mutex_init(&ix->fault_lock);
	INIT_LIST_HEAD(&ix->mappings);
	xa_init(&ix->ghosts);
	init_waitqueue_head(&ix->wait);
	device_initialize(&ix->dev);
	ix->dev.class = &ixmap_class;
	ix->dev.parent = &pdev->dev;
	ix->dev.devt = MKDEV(MAJOR(ixmap_first), minor);
	ix->dev.release = ixmap_free;
	cdev_init(&ix->cdev, &ixmap_operations);
	ix->cdev.owner = THIS_MODULE;
	return ix;
}

/* What the device has to be able to do. */
static int ixmap_prepare(struct ixmap *ix)
{
	struct pci_dev *pdev = ix->pdev;

	ix->bar_size = pci_resource_len(pdev, IXMAP_BAR);
	ix->bar_pfn = pci_resource_start(pdev, IXMAP_BAR) >> PAGE_SHIFT;
	if (!(pci_resource_flags(pdev, IXMAP_BAR) & IORESOURCE_MEM) || !ix->bar_size ||
	    !PAGE_ALIGNED(ix->bar_size | pci_resource_start(pdev, IXMAP_BAR)))
		return dev_err_probe(&pdev->dev, -ENODEV, "BAR 0 cannot be mapped\n");
	if (!pdev->reset_methods[0])
		return dev_err_probe(&pdev->dev, -ENODEV, "the function cannot be reset\n");
	if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)) &&
	    dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32)))
		return dev_err_probe(&pdev->dev, -EIO, "no usable DMA addresses\n");
	/* Segments are as long as memory is contiguous, wherever that is, but end with a huge page. */
	dma_set_max_seg_size(&pdev->dev, ALIGN_DOWN(UINT_MAX, SZ_2M));
	dma_set_seg_boundary(&pdev->dev, ULONG_MAX);
	/* A card that works on copies would never see what the owner does, nor the owner it. */
	if (dma_max_mapping_size(&pdev->dev) != SIZE_MAX)
		return dev_err_probe(&pdev->dev, -EIO, "DMA uses bounce buffers (swiotlb)\n");
	return 0;
}

static int ixmap_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct ixmap *ix;
	int error;

	ix = ixmap_new(pdev);
	if (IS_ERR(ix))
		return PTR_ERR(ix);
	error = dev_set_name(&ix->dev, "ixmap%u", MINOR(ix->dev.devt));
	if (error)
		goto put;
	error = pci_enable_device(pdev);
	if (error)
		goto put;
	pci_clear_master(pdev);
	/* The line may be shared, and nobody here would answer it. */
	pci_intx(pdev, 0);
	error = pci_request_region(pdev, IXMAP_BAR, "ixmap");
	if (error)
		goto disable;
	error = ixmap_prepare(ix);
	if (error)
		goto release;
	pci_set_drvdata(pdev, ix);
	error = cdev_device_add(&ix->cdev, &ix->dev);
	if (error)
		goto release;
	return 0;

release:
	pci_release_region(pdev, IXMAP_BAR);
disable:
	pci_disable_device(pdev);
put:
	put_device(&ix->dev);
	return error;
}

/* Revokes the device from its owner, if there is one; the driver core holds the device's lock. */
static void ixmap_remove(struct pci_dev *pdev)
{
	struct ixmap *ix = pci_get_drvdata(pdev);

	cdev_device_del(&ix->cdev, &ix->dev);
	mutex_lock(&ix->lock);
	mutex_lock(&ix->fault_lock);
	WRITE_ONCE(ix->gone, true);
	mutex_unlock(&ix->fault_lock);
	if (ix->mapping)
		unmap_mapping_range(ix->mapping, 0, 0, 1);
	ixmap_rest(ix);
	mutex_unlock(&ix->lock);
	wake_up_all(&ix->wait);
	pci_release_region(pdev, IXMAP_BAR);
	pci_disable_device(pdev);
	put_device(&ix->dev);
}

/*
 * There is no MODULE_DEVICE_TABLE on purpose: the kernel shall not load this module for a card
 * that it finds, in place of ixgbe. It is loaded, and a card bound to it, when somebody says so.
 */
static const struct pci_device_id ixmap_ids[] = {
	{ PCI_VDEVICE(INTEL, 0x10f7) },	/* 82599 KX4 */
	{ PCI_VDEVICE(INTEL, 0x10f8) },	/* 82599 combined backplane */
	{ PCI_VDEVICE(INTEL, 0x10f9) },	/* 82599 CX4 */
	{ PCI_VDEVICE(INTEL, 0x10fb) },	/* 82599 SFP+ */
	{ PCI_VDEVICE(INTEL, 0x10fc) },	/* 82599 XAUI */
	{ PCI_VDEVICE(INTEL, 0x1507) },	/* 82599 SFP+, extended memory */
	{ PCI_VDEVICE(INTEL, 0x1514) },	/* 82599 KX4 mezzanine */
	{ PCI_VDEVICE(INTEL, 0x1517) },	/* 82599 KR */
	{ PCI_VDEVICE(INTEL, 0x151c) },	/* 82599 10GBASE-T */
	{ PCI_VDEVICE(INTEL, 0x1529) },	/* 82599 SFP+, FCoE */
	{ PCI_VDEVICE(INTEL, 0x152a) },	/* 82599 backplane, FCoE */
	{ PCI_VDEVICE(INTEL, 0x154a) },	/* 82599 SFP+, four ports */
	{ PCI_VDEVICE(INTEL, 0x154d) },	/* 82599 SFP+ */
	{ PCI_VDEVICE(INTEL, 0x1557) },	/* 82599 SFP+, one port */
	{ PCI_VDEVICE(INTEL, 0x1558) },	/* 82599 QSFP+ */
	{ PCI_VDEVICE(INTEL, 0x1528) },	/* X540, two ports */
	{ PCI_VDEVICE(INTEL, 0x1560) },	/* X540, one port */
	{ PCI_VDEVICE(INTEL, 0x1563) },	/* X550, two ports */
	{ PCI_VDEVICE(INTEL, 0x15d1) },	/* X550, one port */
	{ }
};

static struct pci_driver ixmap_driver = {
	.name = "ixmap",
	.id_table = ixmap_ids,
	.probe = ixmap_probe,
	.remove = ixmap_remove,
};

static int __init ixmap_init(void)
{
	int error;

	error = class_register(&ixmap_class);
	if (error)
		return error;
	error = alloc_chrdev_region(&ixmap_first, 0, IXMAP_MINORS, "ixmap");
	if (error)
		goto unregister_class;
	error = pci_register_driver(&ixmap_driver);
	if (error)
		goto unregister_region;
	return 0;

unregister_region:
	unregister_chrdev_region(ixmap_first, IXMAP_MINORS);
unregister_class:
	class_unregister(&ixmap_class);
	return error;
}

static void __exit ixmap_exit(void)
{
	pci_unregister_driver(&ixmap_driver);
	unregister_chrdev_region(ixmap_first, IXMAP_MINORS);
	class_unregister(&ixmap_class);
}

module_init(ixmap_init);
module_exit(ixmap_exit);

MODULE_DESCRIPTION("A network card's registers, memory and interrupts for ixmap");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
