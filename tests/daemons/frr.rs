//! FRR in a namespace: zebra and the protocols that a configuration needs, with a run directory of
//! their own, configured as a Debian system does it: by `vtysh -b` from `frr.conf`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use ixmap_lab::{Error, Family, Namespace, Result, wait_until};
use nix::unistd::User;
use serde_json::Value;
use tempfile::TempDir;

use crate::node::address;
use crate::process::Process;

/// Where Debian keeps FRR's daemons.
const DAEMONS: &str = "/usr/lib/frr";

/// A BGP neighbour by IPv4 and by IPv6, which has an end of a cable.
pub(crate) struct Neighbour {
    pub(crate) cable: u8,
    pub(crate) end: u8,
    pub(crate) system: u32,
    pub(crate) bfd: bool,
}

/// The configuration of system 65000 + `number`, which tells of `subnets` of its own.
pub(crate) fn bgp(number: u8, neighbours: &[Neighbour], subnets: Option<[&str; 2]>) -> String {
    let mut config = format!(
        "router bgp {}\n bgp router-id 192.0.2.{}\n no bgp ebgp-requires-policy\n \
         no bgp default ipv4-unicast\n bgp bestpath as-path multipath-relax\n",
        65000 + u32::from(number),
        100 + number
    );
    let mut channels = String::new();
    for (index, family) in Family::BOTH.into_iter().enumerate() {
        let label = family.label();
        channels += &format!(" address-family {label} unicast\n  maximum-paths 4\n");
        if let Some(subnets) = subnets {
            channels += &format!("  network {}\n", subnets[index]);
        }
        for neighbour in neighbours {
            let peer = address(family, neighbour.cable, neighbour.end);
            let system = neighbour.system;
            config += &format!(" neighbor {peer} remote-as {system}\n");
            config += &format!(" neighbor {peer} timers connect 1\n");
            if neighbour.bfd {
                config += &format!(" neighbor {peer} bfd\n");
            }
            channels += &format!("  neighbor {peer} activate\n");
        }
        channels += " exit-address-family\n";
    }
    config + &channels + "exit\n"
}

/// zebra and its protocols, ended on drop: protocols first.
pub(crate) struct Frr {
    protocols: Vec<Process>,
    zebra: Process,
    files: TempDir,
}

impl Frr {
    /// Starts zebra and `protocols` (`ospfd`, `bgpd`, ...) and has them configured.
    pub(crate) fn start(namespace: &Namespace, protocols: &[&str], config: &str) -> Result<Frr> {
        Frr::start_with(namespace, protocols, config, &[])
    }

    /// The same with more arguments for zebra.
    pub(crate) fn start_with(
        namespace: &Namespace,
        protocols: &[&str],
        config: &str,
        zebra: &[&str],
    ) -> Result<Frr> {
        let files = tempfile::tempdir().map_err(Error::io("make a temporary directory"))?;
        give_to_frr(files.path())?;
        let write = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).map_err(Error::io("write FRR's configuration"))?;
            give_to_frr(&path)
        };
        write("frr.conf", config)?;
        write("vtysh.conf", "")?;
        write("empty.conf", "")?;
        let zebra = launch(namespace, files.path(), "zebra", zebra)?;
        let started = protocols.iter().map(|name| match *name {
            "bfdd" => {
                let control = text(files.path(), "bfdd.sock");
                launch(namespace, files.path(), name, &["--bfdctl", &control])
            }
            name => launch(namespace, files.path(), name, &[]),
        });
        let protocols = started.collect::<Result<Vec<Process>>>()?;
        let frr = Frr {
            protocols,
            zebra,
            files,
        };
        frr.vtysh_with(namespace, &["-b"])?;
        Ok(frr)
    }

    /// `show` commands and the like, in words of FRR's own.
    pub(crate) fn vtysh(&self, namespace: &Namespace, command: &str) -> Result<String> {
        self.vtysh_with(namespace, &["-c", command])
    }

    /// A `show ... json`, parsed.
    pub(crate) fn json(&self, namespace: &Namespace, command: &str) -> Result<Value> {
        let text = self.vtysh(namespace, command)?;
        serde_json::from_str(&text).map_err(|_| Error::Parse {
            what: "vtysh's JSON",
            text,
        })
    }

    fn vtysh_with(&self, namespace: &Namespace, words: &[&str]) -> Result<String> {
        let directory = self.files.path().to_str().unwrap();
        let mut command = vec![
            "vtysh",
            "--vty_socket",
            directory,
            "--config_dir",
            directory,
        ];
        command.extend(words);
        namespace.run(&command)
    }

    /// Ends all daemons at once, as a crash would: nothing is withdrawn, nobody is told.
    pub(crate) fn crash(self) {
        for protocol in self.protocols {
            protocol.crash();
        }
        self.zebra.crash();
    }
}

/// Starts one daemon and waits until it can be asked.
fn launch(namespace: &Namespace, files: &Path, name: &str, arguments: &[&str]) -> Result<Process> {
    let program = format!("{DAEMONS}/{name}");
    let [config, zserv, pid] =
        ["empty.conf", "zserv.api", &format!("{name}.pid")].map(|file| text(files, file));
    let directory = files.to_str().unwrap();
    let mut words = vec![program.as_str(), "-f", &config, "-z", &zserv, "-i", &pid];
    words.extend(["--vty_socket", directory, "-P", "0", "--log", "stdout"]);
    words.extend(arguments);
    let log = files.join(format!("{name}.log"));
    let mut process = Process::start(namespace, &words, &log)?;
    let socket = files.join(format!("{name}.vty"));
    wait_until(&format!("{name} can be asked"), || {
        if process.is_running() {
            return Ok(socket.exists());
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        Err(Error::NotReady(format!("{name} ended: {said}")))
    })?;
    Ok(process)
}

fn text(directory: &Path, file: &str) -> String {
    directory.join(file).to_str().unwrap().to_owned()
}

/// FRR's daemons drop to the user `frr`, who has to reach its files.
fn give_to_frr(path: &Path) -> Result<()> {
    let user = User::from_name("frr").map_err(Error::io("look up the user frr"))?;
    let user = user.ok_or_else(|| Error::NotReady("there is no user frr".to_owned()))?;
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
        .map_err(Error::io("give a file to frr"))?;
    if path.is_dir() {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
            .map_err(Error::io("open FRR's directory"))?;
    }
    Ok(())
}
