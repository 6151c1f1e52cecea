/* The command line of rte_fib.c. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

static unsigned int number(const char *option, const char *text, unsigned int least, unsigned int most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text == '\0' || *end != '\0' || value < least || value > most)
		die("--%s %s: not a number from %u to %u", option, text, least, most);
	return (unsigned int)value;
}

static void usage(void)
{
	die("usage: rte_fib [--burst 64] [--rounds 9] [--width 2|4|8] [--lookup avx512|scalar]\n"
		"  [--tbl8s N] [--core 1] [--frames N] [--mbufs N] [--updates FILE] [--print] TABLE ADDRESSES\n"
		"Times lookups and prints one JSON line. --frames adds packets forwarded out of N frames, --mbufs\n"
		"out of N mbufs, by the burst of 64. --updates replays `time a|w prefix id` lines first and prints\n"
		"their time an operation; --print prints each address's id, or -, in place of timing.");
}

struct options parse_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"burst", required_argument, NULL, 'b'}, {"rounds", required_argument, NULL, 'r'},
		{"width", required_argument, NULL, 'w'}, {"lookup", required_argument, NULL, 'l'},
		{"tbl8s", required_argument, NULL, 't'}, {"core", required_argument, NULL, 'c'},
		{"frames", required_argument, NULL, 'f'}, {"mbufs", required_argument, NULL, 'm'},
		{"updates", required_argument, NULL, 'u'}, {"print", no_argument, NULL, 'p'}, {NULL, 0, NULL, 0},
	};
	struct options o = {.burst = 64, .rounds = 9, .core = 1, .avx512 = true};
	int option;

	while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
		switch (option) {
		case 'b': o.burst = number("burst", optarg, 1, MAX_BURST); break;
		case 'r': o.rounds = number("rounds", optarg, 1, 1000); break;
		case 'w': o.width = number("width", optarg, 2, 8); break;
		case 't': o.tbl8s = number("tbl8s", optarg, 1, 1u << 24); break;
		case 'c': o.core = number("core", optarg, 0, 1023); break;
		case 'f': o.frames = number("frames", optarg, 1, 1u << 20); break;
		case 'm':
			o.mbufs = number("mbufs", optarg, BURST, 1u << 20);
			if (o.mbufs % BURST != 0)
				die("--mbufs %s: whole bursts of %d", optarg, BURST);
			break;
		case 'u': o.updates = optarg; break;
		case 'p': o.print = true; break;
		case 'l':
			o.avx512 = strcmp(optarg, "avx512") == 0;
			if (!o.avx512 && strcmp(optarg, "scalar") != 0)
				die("--lookup %s: avx512 or scalar", optarg);
			break;
		default: usage();
		}
	if (argc - optind != 2)
		usage();
	o.table = argv[optind];
	o.addresses = argv[optind + 1];
	return o;
}
