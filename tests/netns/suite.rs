//! What every test here starts from: a lab with the router that the environment asks for.

use std::ops::{Deref, DerefMut};

use ixmap_lab::{Lab, Ports, Result, Router};

/// A lab that shows the daemon's log when it ends: libtest prints it for failed tests only.
pub(crate) struct TestLab(Lab);

impl Deref for TestLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.0
    }
}

impl DerefMut for TestLab {
    fn deref_mut(&mut self) -> &mut Lab {
        &mut self.0
    }
}

impl Drop for TestLab {
    fn drop(&mut self) {
        if let Ok(daemon) = self.0.daemon() {
            println!("ixmapd's log:\n{}", daemon.log());
        }
    }
}

pub(crate) fn router() -> Router {
    Router::from_environment(env!("CARGO_BIN_EXE_ixmapd"), env!("CARGO_BIN_EXE_ixmapctl"))
}

/// A running lab; A and B, and with `Ports::Three` also C, reach each other.
pub(crate) fn lab(ports: Ports) -> Result<TestLab> {
    Lab::new(&router(), ports).map(TestLab)
}

/// A running lab for a test of ixmapd itself; `None`, said on stdout, if the kernel is the router.
pub(crate) fn ixmapd_lab(ports: Ports) -> Result<Option<TestLab>> {
    match router() {
        Router::Kernel => {
            println!("skipped: this test is about ixmapd, and the router is the kernel");
            Ok(None)
        }
        Router::Ixmapd { .. } => lab(ports).map(Some),
    }
}

/// The same, cabled only: the test starts the daemon itself, or expects it not to start.
pub(crate) fn cabled_lab(ports: Ports) -> Result<Option<TestLab>> {
    match router() {
        Router::Kernel => {
            println!("skipped: this test is about ixmapd, and the router is the kernel");
            Ok(None)
        }
        kind => Lab::cabled(&kind, ports).map(TestLab).map(Some),
    }
}
