//! The daemon's log: tracing to stderr, with a filter that can be changed while it runs.

use std::io::IsTerminal;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::fault::{Fault, nearest};

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Changes the running daemon's filter.
#[derive(Clone, Debug)]
pub struct Handle(reload::Handle<EnvFilter, Registry>);

impl Handle {
    /// Replaces the filter; the old one stays when the new one makes no sense.
    pub fn set(&self, filter: &str) -> Result<(), Fault> {
        let filter = parse(filter)?;
        self.0
            .reload(filter)
            .map_err(|error| Fault::new(error.to_string(), "restart the daemon"))
    }
}

/// Starts logging to stderr, once a process. Under journald without timestamps, which it adds
/// itself, and with colours on a terminal only.
pub fn start(filter: &str) -> Result<Handle, Fault> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if std::env::var_os("JOURNAL_STREAM").is_some() {
        lines.with_ansi(false).without_time().boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(|error| Fault::new(error.to_string(), "start logging once"))?;
    Ok(Handle(handle))
}

/// Checks a filter without using it.
pub fn check(filter: &str) -> Result<String, Fault> {
    parse(filter).map(|_| filter.to_owned())
}

fn parse(filter: &str) -> Result<EnvFilter, Fault> {
    // To tracing, a bare word that is no level names a module to be logged in full: `inof` would
    // silence the daemon instead of being refused.
    for directive in filter.split(',').map(str::trim) {
        let level = directive.to_ascii_lowercase();
        if !directive.contains('=') && !LEVELS.contains(&level.as_str()) {
            let hint = nearest(&level, LEVELS).unwrap_or_default();
            return Err(Fault::new(
                format!("unknown log level \"{directive}\""),
                format!("the nearest level is \"{hint}\"; a module's is MODULE=LEVEL"),
            ));
        }
    }
    EnvFilter::try_new(filter).map_err(|error| {
        Fault::new(
            format!("\"{filter}\" is no log filter ({error})"),
            "use a level such as info, or MODULE=LEVEL separated by commas",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_module_filters_are_accepted() {
        for filter in ["info", "OFF", "warn,ixmap::control=trace", "ixmap=debug"] {
            assert_eq!(check(filter).unwrap(), filter);
        }
    }

    #[test]
    fn a_misspelt_level_is_refused_with_the_nearest_one() {
        assert_eq!(
            check("inof").unwrap_err().to_string(),
            "unknown log level \"inof\": the nearest level is \"info\"; a module's is MODULE=LEVEL"
        );
        assert!(check("").is_err());
        assert!(check("ixmap=loud").is_err());
        assert!(check("info,").is_err());
    }

    #[test]
    fn the_filter_can_be_changed_and_a_bad_one_leaves_the_old() {
        let handle = start("error").unwrap();
        handle.set("warn").unwrap();
        assert!(handle.set("nonsense").is_err());
        let filter = handle.0.with_current(ToString::to_string).unwrap();
        assert_eq!(filter, "warn");
    }
}
