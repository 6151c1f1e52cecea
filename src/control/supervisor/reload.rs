//! Reading the configuration again: ports come and go, the log changes; nothing else is touched.

use super::{Daemon, PortError};
use crate::control::config::ConfigError;
use crate::dataplane::port::{Needs, OpenError};
use crate::shared::config::{Config, PortConfig};

/// Why a reload did not (fully) happen.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0} changed, which takes a restart of ixmapd: nothing was reloaded")]
    NeedsRestart(&'static str),
    #[error("there is no configuration file: ixmapd was started with --port")]
    NoFile,
    #[error("port {name}: {source}: nothing was reloaded")]
    NoDevice { name: String, source: OpenError },
    #[error(
        "port {name}: its mtu takes larger frames than were laid out at the start, so a restart of ixmapd: \
         nothing was reloaded"
    )]
    LargerFrames { name: String },
    #[error("port {name}: {source}: the other ports are as the file says")]
    Port { name: String, source: PortError },
    #[error("log: {0}")]
    Log(#[from] crate::control::fault::Fault),
}

impl Daemon {
    /// Makes ports and log what the configuration says now. A file with an error, or one that
    /// changes what only a restart can change, is refused whole.
    pub(super) async fn reload(&mut self) -> Result<(), ReloadError> {
        self.options.arguments.file().ok_or(ReloadError::NoFile)?;
        let wanted = self.options.arguments.load(&self.options.machine)?;
        if let Some(what) = needs_restart(&self.options.config, &wanted) {
            return Err(ReloadError::NeedsRestart(what));
        }
        for config in wanted.ports.iter().filter(|config| !self.runs(config)) {
            // Before anything is closed: a device that is not there keeps the old port running.
            let name = || config.name.clone();
            let needs = Needs::survey(config, self.worker_count()).map_err(|source| {
                ReloadError::NoDevice {
                    name: name(),
                    source,
                }
            })?;
            let laid_out = self.workers.iter().map(|worker| worker.arena.frame_size());
            if laid_out.min().is_some_and(|size| needs.frame_size > size) {
                return Err(ReloadError::LargerFrames { name: name() });
            }
        }
        self.options.log.set(&wanted.log)?;
        let keep = |config: &PortConfig| wanted.ports.contains(config);
        let running = self.ports.iter().flatten();
        let gone: Vec<_> = running
            .filter(|port| !keep(&port.config))
            .map(|port| port.id)
            .collect();
        for id in gone {
            self.close_port(id).await;
        }
        let mut failure = None;
        for config in &wanted.ports {
            if !self.runs(config)
                && let Err(source) = self.add_port(config).await
            {
                tracing::error!("port {}: {source}", config.name);
                failure.get_or_insert(ReloadError::Port {
                    name: config.name.clone(),
                    source,
                });
            }
        }
        self.options.config = wanted;
        match failure {
            Some(failure) => Err(failure),
            None => {
                tracing::info!("the configuration was reloaded");
                Ok(())
            }
        }
    }

    fn worker_count(&self) -> u32 {
        u32::try_from(self.workers.len()).unwrap_or(u32::MAX).max(1)
    }

    fn runs(&self, config: &PortConfig) -> bool {
        let mut running = self.ports.iter().flatten();
        running.any(|port| port.config == *config)
    }
}

fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let changes = [
        ("[workers] cores", old.cores != new.cores),
        ("[workers] idle", old.idle != new.idle),
        ("[daemon] socket", old.socket != new.socket),
        ("[daemon] group", old.group != new.group),
        ("[daemon] metrics", old.metrics != new.metrics),
        (
            "[daemon] fib_memory_mib",
            old.fib_memory_mib != new.fib_memory_mib,
        ),
    ];
    changes
        .into_iter()
        .find(|(_, changed)| *changed)
        .map(|(what, _)| what)
}
