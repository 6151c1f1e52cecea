//! The TOML file: its tables and keys, each error with its line.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::machine::Machine;
use super::value;
use crate::control::fault::{Fault, nearest};
use crate::control::logging;
use crate::shared::config::{Config, PortConfig};

/// The first thing wrong with a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FileError {
    /// From 1.
    pub(super) line: usize,
    /// Dotted, such as `daemon.socket`.
    pub(super) key: String,
    pub(super) fault: Fault,
}

/// Reads the file's text and checks every value against the machine.
pub(super) fn parse(text: &str, machine: &Machine) -> Result<Config, FileError> {
    let root = DeTable::parse(text).map_err(|error| FileError {
        line: line_at(text, error.span().map_or(text.len(), |span| span.start)),
        key: "TOML".to_owned(),
        fault: Fault::new(error.message(), "correct the line"),
    })?;
    let root = Table {
        text,
        path: "",
        line: 1,
        entries: root.get_ref(),
    };
    root.only(&["daemon", "workers", "port"])?;
    let mut config = Config::default();
    if let Some(daemon) = root.table("daemon")? {
        read_daemon(&daemon, machine, &mut config)?;
    }
    if let Some(workers) = root.table("workers")? {
        read_workers(&workers, machine, &mut config)?;
    }
    read_ports(&root, &mut config)?;
    Ok(config)
}

fn read_daemon(daemon: &Table, machine: &Machine, config: &mut Config) -> Result<(), FileError> {
    daemon.only(&[
        "socket",
        "group",
        "metrics",
        "log",
        "fib_memory_mib",
        "audit_seconds",
    ])?;
    if let Some(socket) = daemon.get("socket", |v| value::socket(Path::new(string(v)?)))? {
        config.socket = socket;
    }
    config.group = daemon.get("group", |v| {
        let name = string(v)?;
        machine.group(name)?;
        Ok(name.to_owned())
    })?;
    if let Some(metrics) = daemon.get("metrics", |v| value::metrics(string(v)?))? {
        config.metrics = metrics;
    }
    if let Some(log) = daemon.get("log", |v| logging::check(string(v)?))? {
        config.log = log;
    }
    if let Some(mib) = daemon.get("fib_memory_mib", |v| value::fib_memory(integer(v)?))? {
        config.fib_memory_mib = mib;
    }
    if let Some(seconds) = daemon.get("audit_seconds", |v| value::audit(integer(v)?))? {
        config.audit_seconds = seconds;
    }
    Ok(())
}

fn read_workers(workers: &Table, machine: &Machine, config: &mut Config) -> Result<(), FileError> {
    workers.only(&["cores", "idle"])?;
    let cores = workers.get("cores", |v| {
        let cores = array(v)?
            .iter()
            .map(|core| value::core(integer(core.get_ref())?))
            .collect::<Result<Vec<_>, Fault>>()?;
        machine.check_cores(&cores)?;
        Ok(cores)
    })?;
    config.cores = cores.unwrap_or_default();
    if let Some(idle) = workers.get("idle", |v| value::idle(string(v)?))? {
        config.idle = idle;
    }
    Ok(())
}

fn read_ports(root: &Table, config: &mut Config) -> Result<(), FileError> {
    let tables = root.tables("port")?;
    for table in &tables {
        config.ports.push(read_port(table)?);
    }
    value::check_ports(&config.ports)
        .map_err(|conflict| tables[conflict.index].error(conflict.key, conflict.fault))
}

const PORT_KEYS: &[&str] = &[
    "name",
    "driver",
    "device",
    "bind",
    "mtu",
    "queues",
    "promiscuous",
];

fn read_port(port: &Table) -> Result<PortConfig, FileError> {
    port.only(PORT_KEYS)?;
    let driver = port.required("driver", |v| value::driver(string(v)?))?;
    Ok(PortConfig {
        name: port.required("name", |v| value::port_name(string(v)?))?,
        driver,
        device: port.required("device", |v| value::device(driver, string(v)?))?,
        bind: port.get("bind", |v| value::bind(driver, string(v)?))?,
        mtu: port.get("mtu", |v| value::mtu(integer(v)?))?,
        queues: port.get("queues", |v| value::queues(driver, integer(v)?))?,
        promiscuous: port.get("promiscuous", boolean)?.unwrap_or(false),
    })
}

/// One table of the file, with what its errors need.
struct Table<'a> {
    text: &'a str,
    /// Its name; empty for the root.
    path: &'static str,
    line: usize,
    entries: &'a DeTable<'a>,
}

impl<'a> Table<'a> {
    /// Refuses keys that nothing reads: a typing error must not pass as a default.
    fn only(&self, known: &[&str]) -> Result<(), FileError> {
        let unknown = self
            .entries
            .keys()
            .filter(|key| !known.contains(&key.get_ref().as_ref()))
            .min_by_key(|key| key.span().start);
        match unknown {
            None => Ok(()),
            Some(key) => {
                let hint = nearest(key.get_ref(), known.iter().copied()).unwrap_or_default();
                let remedy = format!("the nearest known key is \"{hint}\"");
                Err(self.error(key.get_ref(), Fault::new("unknown key", remedy)))
            }
        }
    }

    /// Reads a key's value if it is there.
    fn get<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, Fault>,
    ) -> Result<Option<T>, FileError> {
        self.entries
            .get(key)
            .map(|found| read(found.get_ref()).map_err(|fault| self.error(key, fault)))
            .transpose()
    }

    fn required<T>(
        &self,
        key: &str,
        read: impl FnOnce(&'a DeValue<'a>) -> Result<T, Fault>,
    ) -> Result<T, FileError> {
        self.get(key, read)?.ok_or_else(|| {
            let remedy = format!("add {key} = ... to this [[{}]]", self.path);
            self.error(key, Fault::new("missing", remedy))
        })
    }

    fn table(&self, name: &'static str) -> Result<Option<Table<'a>>, FileError> {
        let Some(found) = self.entries.get(name) else {
            return Ok(None);
        };
        self.child(name, found)
            .map(Some)
            .ok_or_else(|| self.error(name, wrong_type(found.get_ref(), &format!("[{name}]"))))
    }

    fn tables(&self, name: &'static str) -> Result<Vec<Table<'a>>, FileError> {
        let Some(found) = self.entries.get(name) else {
            return Ok(Vec::new());
        };
        let wrong = || self.error(name, wrong_type(found.get_ref(), &format!("[[{name}]]")));
        let list = found.get_ref().as_array().ok_or_else(wrong)?;
        list.iter()
            .map(|entry| self.child(name, entry).ok_or_else(wrong))
            .collect()
    }

    fn child(&self, path: &'static str, value: &'a Spanned<DeValue<'a>>) -> Option<Table<'a>> {
        Some(Table {
            text: self.text,
            path,
            line: line_at(self.text, value.span().start),
            entries: value.get_ref().as_table()?,
        })
    }

    /// An error at the line of `key`, or at the table's where the key is missing.
    fn error(&self, key: &str, fault: Fault) -> FileError {
        let line = self
            .entries
            .get_key_value(key)
            .map_or(self.line, |(found, _)| {
                line_at(self.text, found.span().start)
            });
        let key = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        FileError { line, key, fault }
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn string<'a>(value: &'a DeValue<'_>) -> Result<&'a str, Fault> {
    value.as_str().ok_or_else(|| wrong_type(value, "a string"))
}

fn integer(value: &DeValue) -> Result<i64, Fault> {
    value
        .as_integer()
        .and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok())
        .ok_or_else(|| wrong_type(value, "an integer"))
}

fn boolean(value: &DeValue) -> Result<bool, Fault> {
    value
        .as_bool()
        .ok_or_else(|| wrong_type(value, "true or false"))
}

fn array<'a>(value: &'a DeValue<'a>) -> Result<&'a [Spanned<DeValue<'a>>], Fault> {
    value
        .as_array()
        .map(|array| array.as_ref())
        .ok_or_else(|| wrong_type(value, "a list such as [2, 3]"))
}

fn wrong_type(value: &DeValue, wanted: &str) -> Fault {
    Fault::new(
        format!("a TOML {} does not fit", value.type_str()),
        format!("write {wanted}"),
    )
}
