// What traffic.c and traffic.bpf.c agree on.

#include <linux/types.h>

#define FRAME 64
#define DESTINATIONS 65536
#define CORES 256
#define TTL 64

// Offsets in a frame: Ethernet, then IPv4.
#define IPV4_TTL 22
#define IPV4_CHECKSUM 24
#define IPV4_SOURCE 26
#define IPV4_DESTINATION 30

struct destination {
	__u32 address;  // as on the wire
	__u16 checksum; // of the header with this address
	__u16 unused;
};

struct settings {
	__u64 frame[FRAME / 8];
	__u32 ifindex;
};

// A cache line each, as each is written by one core only.
struct sink {
	__u64 routed;
	__u64 strange;
	__u64 unused[6];
};

struct counters {
	__u64 offered;
	__u64 unused[7];
	struct sink sink[CORES];
};
