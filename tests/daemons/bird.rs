//! BIRD in a namespace, with a control socket of its own.

use std::fs;

use ixmap_lab::{Error, Namespace, Result, wait_until};
use tempfile::TempDir;

use crate::process::Process;

/// A running BIRD; ended on drop, which removes its routes from the kernel.
pub(crate) struct Bird {
    // Ended before its files go.
    _process: Process,
    files: TempDir,
}

impl Bird {
    /// Starts BIRD with this configuration and waits until it answers.
    pub(crate) fn start(namespace: &Namespace, config: &str) -> Result<Bird> {
        let files = tempfile::tempdir().map_err(Error::io("make a temporary directory"))?;
        let [file, socket] =
            ["bird.conf", "bird.ctl"].map(|name| files.path().join(name).display().to_string());
        fs::write(&file, config).map_err(Error::io("write BIRD's configuration"))?;
        let log = files.path().join("bird.log");
        let words = ["bird", "-f", "-c", &file, "-s", &socket];
        let mut process = Process::start(namespace, &words, &log)?;
        wait_until("BIRD answers", || {
            if !process.is_running() {
                let said = fs::read_to_string(&log).unwrap_or_default();
                return Err(Error::NotReady(format!("bird ended: {said}")));
            }
            let answer = namespace.output(&["birdc", "-s", &socket, "show", "status"])?;
            Ok(String::from_utf8_lossy(&answer.stdout).contains("Daemon is up and running"))
        })?;
        Ok(Bird {
            _process: process,
            files,
        })
    }

    /// `birdc COMMAND`.
    pub(crate) fn ask(&self, namespace: &Namespace, command: &str) -> Result<String> {
        let socket = self.files.path().join("bird.ctl").display().to_string();
        let mut words = vec!["birdc", "-s", &socket];
        words.extend(command.split_whitespace());
        namespace.run(&words)
    }
}
