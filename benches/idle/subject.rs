//! Who forwards: the kernel, or ixmapd with a worker of either kind.

use std::fs;

use ixmap_lab::{Error, Family, Lab, Ports, Result, Router};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Kernel,
    Poll,
    Adaptive,
}

impl Subject {
    pub(crate) const ALL: [Subject; 3] = [Subject::Kernel, Subject::Poll, Subject::Adaptive];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Subject::Kernel => "kernel",
            Subject::Poll => "poll",
            Subject::Adaptive => "adaptive",
        }
    }

    /// Hosts A and B around the router, whose worker has the last core. Their packets go the fast way.
    pub(crate) fn lab(self) -> Result<Lab> {
        if self == Subject::Kernel {
            return Lab::new(&Router::Kernel, Ports::Two);
        }
        let router = Router::Ixmapd {
            daemon: env!("CARGO_BIN_EXE_ixmapd").into(),
            ctl: env!("CARGO_BIN_EXE_ixmapctl").into(),
        };
        let mut lab = Lab::cabled(&router, Ports::Two)?;
        let file = lab.scratch.path().join("ixmap.toml");
        let text = format!("[workers]\nidle = \"{}\"\n", self.name());
        fs::write(&file, text).map_err(Error::io("write a configuration"))?;
        lab.start_with(&["-c", &file.to_string_lossy()])?;
        lab.wait_fast_path(Family::Ipv4)?;
        Ok(lab)
    }

    /// How often the worker has slept.
    pub(crate) fn sleeps(self, lab: &Lab) -> Result<u64> {
        if self == Subject::Kernel {
            return Ok(0);
        }
        let workers = lab.ctl(&["workers"])?;
        Ok(workers[0]["sleeps"].as_u64().unwrap_or_default())
    }
}
