//! The parts of the test suite, as data: a new suite is a new row.

/// One part of `cargo xtask test`.
pub(crate) struct Part {
    /// What the report calls it and what FILTER selects by.
    pub(crate) name: &'static str,
    /// The arguments of `cargo`.
    pub(crate) cargo: &'static [&'static str],
    /// Whether it makes namespaces, and so needs root and the lab's tools.
    pub(crate) lab: bool,
}

pub(crate) const PARTS: &[Part] = &[
    Part {
        name: "unit and property",
        cargo: &["test", "--workspace"],
        lab: false,
    },
    Part {
        name: "mirror",
        cargo: &["test", "--test", "mirror", "--", "--test-threads=2"],
        lab: true,
    },
    Part {
        name: "oracle",
        cargo: &["test", "--test", "oracle", "--", "--test-threads=2"],
        lab: true,
    },
    Part {
        name: "afxdp",
        cargo: &["test", "--test", "afxdp", "--", "--test-threads=2"],
        lab: true,
    },
    Part {
        name: "netns",
        cargo: &["test", "--test", "netns", "--", "--test-threads=2"],
        lab: true,
    },
    Part {
        name: "daemons",
        cargo: &["test", "--test", "daemons", "--", "--test-threads=2"],
        lab: true,
    },
    Part {
        name: "virtual machine",
        cargo: &[
            "test",
            "--no-fail-fast",
            "--package=ixmap-vm",
            "--test=boot",
            "--test=ixgbe",
            "--test=kmod",
            "--test=router",
            "--",
            "--test-threads=2",
        ],
        lab: true,
    },
];
