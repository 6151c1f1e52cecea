//! `ixmapctl`: one command, one request, one answer. Exit codes: 0 done, 1 the daemon refused,
//! 2 bad usage, 3 no daemon there.

use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use ipnet::IpNet;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::{Client, ClientError};
use super::render::{self, Rates};
use crate::control::fault::Fault;
use crate::control::{args, bind, config};
use crate::shared::api::{
    Counters, Family, PortDrops, PortTraffic, PortWithCounters, Request, Traffic, Worker,
    WorkerTraffic,
};
use crate::shared::config::DEFAULT_SOCKET;
use crate::shared::pci::PciAddress;

/// Asks and tells a running ixmapd.
#[derive(Parser, Debug)]
#[command(name = "ixmapctl", version, arg_required_else_help = false)]
struct Arguments {
    /// Control socket
    #[arg(long, global = true, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// The whole daemon at a glance
    Status,
    /// Ports and their counters
    Ports,
    /// Workers and how busy they are
    Workers,
    /// Packets and bytes by port
    Counters {
        /// Print again every second, with rates
        #[arg(long)]
        watch: bool,
    },
    /// Why packets were dropped or handed to the kernel
    Drops,
    /// What the workers do with a destination
    Route { address: IpAddr },
    /// All routes, or those within a prefix
    Routes(Selection),
    /// The kernel's neighbours on the ports
    Neighbours,
    /// Read the configuration file again
    Reload,
    /// Add or remove a port
    #[command(subcommand, arg_required_else_help = false)]
    Port(PortCommand),
    /// Bind a card to the kernel driver that lends it to ixmapd, or back to its own
    Bind(Binding),
    /// Set the log filter: error, warn, info, debug, trace, MODULE=LEVEL
    Log { level: String },
}

#[derive(Args, Debug)]
struct Selection {
    /// IPv4 only
    #[arg(short = '4', conflicts_with = "ipv6")]
    ipv4: bool,
    /// IPv6 only
    #[arg(short = '6')]
    ipv6: bool,
    /// Routes within this prefix
    prefix: Option<IpNet>,
}

#[derive(Args, Debug)]
struct Binding {
    /// The card's PCI address: 0000:03:00.0
    #[arg(value_name = "PCI")]
    address: PciAddress,
    /// The kernel's driver: ixmap, vfio-pci, or for the way back the card's own, ixgbe
    #[arg(default_value = "ixmap", value_parser = driver_name)]
    driver: String,
    /// Even when its netdev is in use
    #[arg(long)]
    force: bool,
}

#[derive(Subcommand, Debug)]
enum PortCommand {
    /// Add a port: its TAP's name, its driver and its device
    Add {
        #[arg(value_name = "NAME=DRIVER:DEVICE", value_parser = port_form)]
        port: String,
    },
    /// Remove a port
    Del { name: String },
}

/// A name that a driver of the kernel's may have.
fn driver_name(text: &str) -> Result<String, Fault> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !text.is_empty() && text.chars().all(is_name) {
        return Ok(text.to_owned());
    }
    Err(Fault::new(
        format!("\"{text}\" is no driver's name"),
        "use ixmap, vfio-pci or ixgbe",
    ))
}

/// Checks the form only: which drivers and devices there are is for the daemon to say.
fn port_form(text: &str) -> Result<String, Fault> {
    config::split_port(text).map(|_| text.to_owned())
}

/// Runs the process's command line.
pub fn main() -> ExitCode {
    let arguments: Arguments = match args::parse("ixmapctl") {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader has seen enough: `ixmapctl routes | head`.
        Err(ClientError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("ixmapctl: {error}");
            ExitCode::from(match error {
                ClientError::NoDaemon { .. } | ClientError::Lost(_) => 3,
                _ => 1,
            })
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), ClientError> {
    if let Command::Bind(binding) = &arguments.command {
        return bind(binding, arguments.json);
    }
    let mut session = Session {
        client: Client::connect(&arguments.socket)?,
        out: BufWriter::new(io::stdout().lock()),
        json: arguments.json,
    };
    match &arguments.command {
        Command::Status => session.show(&Request::Status, render::status),
        Command::Ports => session.show(&Request::Ports, |ports: &Vec<PortWithCounters>| {
            render::ports_with_counters(ports)
        }),
        Command::Workers => session.show(&Request::Workers, |workers: &Vec<Worker>| {
            render::workers(workers)
        }),
        Command::Counters { watch: false } => session.show(&Request::Counters, counters),
        Command::Counters { watch: true } => session.watch(),
        Command::Drops => session.show(&Request::Drops, |drops: &Vec<PortDrops>| {
            render::drops(drops)
        }),
        Command::Route { address } => {
            let address = *address;
            session.show(&Request::Route { address }, render::route_with_group)
        }
        Command::Routes(selection) => session.list(&selection.request(), render::route),
        Command::Neighbours => session.list(&Request::Neighbours, render::neighbour),
        Command::Reload => session.tell(&Request::Reload),
        Command::Port(PortCommand::Add { port }) => {
            let port = port.clone();
            session.tell(&Request::PortAdd { port })
        }
        Command::Port(PortCommand::Del { name }) => {
            let name = name.clone();
            session.tell(&Request::PortDel { name })
        }
        Command::Log { level } => {
            let level = level.clone();
            session.tell(&Request::Log { level })
        }
        // Done above: it needs no daemon.
        Command::Bind(_) => Ok(()),
    }?;
    Ok(session.out.flush()?)
}

fn bind(binding: &Binding, as_json: bool) -> Result<(), ClientError> {
    let bound = bind::run(binding.address, &binding.driver, binding.force);
    let report = bound.map_err(|error| ClientError::Refused(error.to_string()))?;
    let text = match as_json {
        true => json(&report)? + "\n",
        false => report.line(),
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

impl Selection {
    fn request(&self) -> Request {
        Request::Routes {
            family: match (self.ipv4, self.ipv6) {
                (true, _) => Some(Family::Ipv4),
                (_, true) => Some(Family::Ipv6),
                _ => None,
            },
            prefix: self.prefix.map(|prefix| prefix.trunc()),
        }
    }
}

fn counters(counters: &Counters) -> String {
    let ports: Vec<_> = counters
        .ports
        .iter()
        .map(|entry| (entry.port.as_str(), entry.traffic))
        .collect();
    render::counters(&ports)
}

/// One command's way in and out.
struct Session<'a> {
    client: Client,
    out: BufWriter<io::StdoutLock<'a>>,
    json: bool,
}

impl Session<'_> {
    /// Asks for a document and prints it.
    fn show<T: DeserializeOwned + Serialize>(
        &mut self,
        request: &Request,
        render: impl FnOnce(&T) -> String,
    ) -> Result<(), ClientError> {
        let answer: T = self.client.ask(request)?;
        let text = if self.json {
            json(&answer)? + "\n"
        } else {
            render(&answer)
        };
        Ok(self.out.write_all(text.as_bytes())?)
    }

    /// Asks for a long list and prints it as it comes.
    fn list<T: DeserializeOwned + Serialize>(
        &mut self,
        request: &Request,
        render: impl Fn(&T) -> String,
    ) -> Result<(), ClientError> {
        let Session {
            client,
            out,
            json: as_json,
        } = self;
        let mut separator = "[";
        client.list(request, |item: T| {
            if *as_json {
                write!(out, "{separator}{}", json(&item)?)?;
                separator = ",\n";
                Ok(())
            } else {
                out.write_all(render(&item).as_bytes())
            }
        })?;
        if *as_json {
            let open = if separator == "[" { "[" } else { "" };
            writeln!(out, "{open}]")?;
        }
        Ok(())
    }

    /// Asks for something to be done.
    fn tell(&mut self, request: &Request) -> Result<(), ClientError> {
        self.client.ask(request)
    }

    /// Prints counters and rates once a second, until interrupted.
    fn watch(&mut self) -> Result<(), ClientError> {
        let mut before: Counters = self.client.ask(&Request::Counters)?;
        let mut asked = Instant::now();
        loop {
            sleep(Duration::from_secs(1));
            let now: Counters = self.client.ask(&Request::Counters)?;
            let seconds = asked.elapsed().as_secs_f64();
            asked = Instant::now();
            let watched = Watched::new(&before, &now, seconds);
            let text = if self.json {
                json(&watched)? + "\n"
            } else {
                watched.render() + "\n"
            };
            self.out.write_all(text.as_bytes())?;
            self.out.flush()?;
            before = now;
        }
    }
}

fn json<T: Serialize>(value: &T) -> io::Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// Counters with rates.
#[derive(Serialize)]
struct Watched<'a> {
    ports: Vec<WatchedPort<'a>>,
    workers: &'a [WorkerTraffic],
}

#[derive(Serialize)]
struct WatchedPort<'a> {
    #[serde(flatten)]
    now: &'a PortTraffic,
    #[serde(flatten)]
    rates: Rates,
}

impl<'a> Watched<'a> {
    fn new(before: &Counters, now: &'a Counters, seconds: f64) -> Watched<'a> {
        let port = |now: &'a PortTraffic| {
            let earlier = before.ports.iter().find(|port| port.port == now.port);
            let rates = earlier.map_or(Rates::default(), |earlier| {
                rates(&earlier.traffic, &now.traffic, seconds)
            });
            WatchedPort { now, rates }
        };
        Watched {
            ports: now.ports.iter().map(port).collect(),
            workers: &now.workers,
        }
    }

    fn render(&self) -> String {
        render::rates(
            self.ports
                .iter()
                .map(|port| (port.now.port.as_str(), port.now.traffic, port.rates)),
        )
    }
}

/// Counters start over with a port that was removed and added again: no rate then.
fn rates(before: &Traffic, now: &Traffic, seconds: f64) -> Rates {
    let rate = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
    Rates {
        rx_pps: rate(before.rx_packets, now.rx_packets),
        tx_pps: rate(before.tx_packets, now.tx_packets),
        rx_bps: 8.0 * rate(before.rx_bytes, now.rx_bytes),
        tx_bps: 8.0 * rate(before.tx_bytes, now.tx_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_over_time_and_never_negative() {
        let before = Traffic {
            rx_packets: 100,
            tx_bytes: 1000,
            ..Traffic::default()
        };
        let now = Traffic {
            rx_packets: 300,
            tx_bytes: 500,
            ..Traffic::default()
        };
        let rates = rates(&before, &now, 2.0);
        assert_eq!((rates.rx_pps, rates.tx_bps), (100.0, 0.0));
    }

    #[test]
    fn a_prefix_with_host_bits_asks_for_its_network() {
        let selection = Selection {
            ipv4: false,
            ipv6: false,
            prefix: Some("192.0.2.7/24".parse().unwrap()),
        };
        assert_eq!(
            selection.request(),
            Request::Routes {
                family: None,
                prefix: Some("192.0.2.0/24".parse().unwrap())
            }
        );
    }
}
