// The kernel's side of traffic.c: makes packets of 64 bytes as fast as a core can, and counts those
// that a router sent on.

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#include "traffic.h"

volatile const struct settings settings;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DESTINATIONS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct destination);
} destinations SEC(".maps");

struct counters counters;

// Frames come round again as the last router left them, so each is written anew.
SEC("xdp")
int generate(struct xdp_md *context)
{
	__u64 *words = (void *)(long)context->data;
	__u32 key = (__u32)counters.offered % DESTINATIONS;
	struct destination *destination = bpf_map_lookup_elem(&destinations, &key);

	if (!destination || (void *)words + FRAME > (void *)(long)context->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < FRAME / 8; i++)
		words[i] = settings.frame[i];
	*(__u16 *)((void *)words + IPV4_CHECKSUM) = destination->checksum;
	*(__u32 *)((void *)words + IPV4_DESTINATION) = destination->address;
	counters.offered++;
	return bpf_redirect(settings.ifindex, 0);
}

// What a router sent is IPv4 with a TTL lower by one; all of it ends here.
SEC("tc")
int count(struct __sk_buff *packet)
{
	__u8 *bytes = (void *)(long)packet->data;
	__u32 core = bpf_get_smp_processor_id() % CORES;

	if (bytes + IPV4_TTL < (__u8 *)(long)packet->data_end && bytes[12] == 8 && bytes[13] == 0 &&
		bytes[IPV4_TTL] == TTL - 1)
		counters.sink[core].routed++;
	else
		counters.sink[core].strange++;
	return TC_ACT_SHOT;
}

char licence[] SEC("license") = "Dual MIT/GPL";
