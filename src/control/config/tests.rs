//! Files and the exact lines that they earn.

use std::path::Path;

use super::*;
use crate::shared::config::{DEFAULT_METRICS, Driver, Idle, KernelDriver};

fn machine() -> Machine {
    Machine {
        cores: vec![0, 1, 2, 3],
        groups: [("ixmap".to_owned(), 998)].into(),
        ..Machine::default()
    }
}

fn read(text: &str) -> Result<Config, String> {
    file::parse(text, &machine()).map_err(|error| {
        ConfigError::Line {
            path: "f.toml".into(),
            line: error.line,
            key: error.key,
            fault: error.fault,
        }
        .to_string()
    })
}

/// A port's table with one more line, which is line 5.
fn port_with(line: &str) -> String {
    format!("[[port]]\nname = \"lan\"\ndriver = \"afxdp\"\ndevice = \"eth0\"\n{line}\n")
}

#[test]
fn an_empty_file_is_the_defaults() {
    let config = read("").unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.socket, Path::new("/run/ixmap/ixmapd.sock"));
    assert_eq!(config.metrics, Some(DEFAULT_METRICS));
}

#[test]
fn every_key_is_read() {
    let config = read(
        r#"
        [daemon]
        socket = "/run/other.sock"
        group = "ixmap"
        metrics = "off"
        log = "info,ixmap::control=debug"
        fib_memory_mib = 64
        audit_seconds = 60
        [workers]
        cores = [2, 3]
        idle = "poll"
        [[port]]
        name = "lan"
        driver = "afxdp"
        device = "eth0"
        mtu = 3000
        queues = 2
        promiscuous = true
        [[port]]
        name = "wan"
        driver = "afxdp"
        device = "eth1"
        "#,
    )
    .unwrap();
    assert_eq!(config.socket, Path::new("/run/other.sock"));
    assert_eq!(config.group.as_deref(), Some("ixmap"));
    assert_eq!(config.metrics, None);
    assert_eq!(config.log, "info,ixmap::control=debug");
    assert_eq!(config.fib_memory_mib, 64);
    assert_eq!(config.audit_seconds, 60);
    assert_eq!((config.cores, config.idle), (vec![2, 3], Idle::Poll));
    let [lan, wan] = &config.ports[..] else {
        panic!("{:?}", config.ports);
    };
    assert_eq!(
        (lan.mtu, lan.queues, lan.promiscuous),
        (Some(3000), Some(2), true)
    );
    assert_eq!((wan.mtu, wan.queues, wan.promiscuous), (None, None, false));
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_nearest_known_key() {
    for (text, line) in [
        (
            "[daemon]\n\nsokcet = \"/run/s\"",
            "f.toml:3: daemon.sokcet: unknown key: the nearest known key is \"socket\"",
        ),
        (
            "[workers]\ncore = [1]",
            "f.toml:2: workers.core: unknown key: the nearest known key is \"cores\"",
        ),
        (
            "[worker]\ncores = [1]",
            "f.toml:1: worker: unknown key: the nearest known key is \"workers\"",
        ),
        (
            "[[ports]]\nname = \"a\"",
            "f.toml:1: ports: unknown key: the nearest known key is \"port\"",
        ),
        (
            "[daemon]\n\"a\\nb\" = 1",
            "f.toml:2: daemon.a\\nb: unknown key: the nearest known key is \"log\"",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), line);
    }
    assert_eq!(
        read(&port_with("promiscous = true")).unwrap_err(),
        "f.toml:5: port.promiscous: unknown key: the nearest known key is \"promiscuous\""
    );
}

#[test]
fn a_wrong_value_of_the_daemon_or_its_workers_is_one_line() {
    for (text, line) in [
        (
            "[daemon\n",
            "f.toml:1: TOML: unclosed table, expected `]`: correct the line",
        ),
        (
            "[daemon]\nlog = \"info\"\nlog = \"warn\"",
            "f.toml:3: TOML: duplicate key: correct the line",
        ),
        (
            "daemon = 1",
            "f.toml:1: daemon: a TOML integer does not fit: write [daemon]",
        ),
        (
            "[port]\nname = \"lan\"",
            "f.toml:1: port: a TOML table does not fit: write [[port]]",
        ),
        (
            "[daemon]\nsocket = 1",
            "f.toml:2: daemon.socket: a TOML integer does not fit: write a string",
        ),
        (
            "[daemon]\nsocket = \"run/s\"",
            "f.toml:2: daemon.socket: \"run/s\" is no absolute path of a file: start it with / and end it with the socket's name",
        ),
        (
            "[daemon]\ngroup = \"nobody-here\"",
            "f.toml:2: daemon.group: no group \"nobody-here\" in /etc/group: create it with `groupadd --system nobody-here`",
        ),
        (
            "[daemon]\nmetrics = \"9473\"",
            "f.toml:2: daemon.metrics: \"9473\" is no address to listen on: use ADDR:PORT such as 127.0.0.1:9473 or [::1]:9473, or \"off\"",
        ),
        (
            "[daemon]\nlog = \"inof\"",
            "f.toml:2: daemon.log: unknown log level \"inof\": the nearest level is \"info\"; a module's is MODULE=LEVEL",
        ),
        (
            "[daemon]\nfib_memory_mib = 0",
            "f.toml:2: daemon.fib_memory_mib: 0 MiB is no size of a forwarding table: use 2 to 512, or leave the key out for 512",
        ),
        (
            "[daemon]\nfib_memory_mib = 65537",
            "f.toml:2: daemon.fib_memory_mib: 65537 MiB is no size of a forwarding table: use 2 to 512, or leave the key out for 512",
        ),
        (
            "[daemon]\naudit_seconds = 5",
            "f.toml:2: daemon.audit_seconds: 5 s is no time between audits: use 10 to 86400, 0 for none, or leave the key out for 300",
        ),
        (
            "[daemon]\nfib_memory_mib = \"64M\"",
            "f.toml:2: daemon.fib_memory_mib: a TOML string does not fit: write an integer",
        ),
        (
            "[workers]\ncores = 1",
            "f.toml:2: workers.cores: a TOML integer does not fit: write a list such as [2, 3]",
        ),
        (
            "[workers]\ncores = [1, 4]",
            "f.toml:2: workers.cores: no core 4 here: use some of 0-3",
        ),
        (
            "[workers]\ncores = [-1]",
            "f.toml:2: workers.cores: -1 is no core id: use ids from `lscpu -e`",
        ),
        (
            "[workers]\ncores = [1, 2, 1]",
            "f.toml:2: workers.cores: core 1 is named twice: name each core once: one worker runs on it",
        ),
        (
            "[workers]\nidle = \"sleep\"",
            "f.toml:2: workers.idle: unknown strategy \"sleep\": use \"poll\" or \"adaptive\"",
        ),
    ] {
        assert_eq!(read(text).unwrap_err(), line);
    }
}

#[test]
fn a_wrong_value_of_a_port_is_one_line() {
    for (extra, line) in [
        (
            "mtu = 67",
            "f.toml:5: port.mtu: 67 is no MTU that ixmap can use: use 68 to 9710",
        ),
        (
            "mtu = 65537",
            "f.toml:5: port.mtu: 65537 is no MTU that ixmap can use: use 68 to 9710",
        ),
        (
            "mtu = 9711",
            "f.toml:5: port.mtu: 9711 is no MTU that ixmap can use: use 68 to 9710",
        ),
        (
            "mtu = \"1500\"",
            "f.toml:5: port.mtu: a TOML string does not fit: write an integer",
        ),
        (
            "queues = 0",
            "f.toml:5: port.queues: 0 is no number of queues: use 1 or more, or leave the key out for all of the device's",
        ),
        (
            "promiscuous = 1",
            "f.toml:5: port.promiscuous: a TOML integer does not fit: write true or false",
        ),
        (
            "[[port]]\nname = \"lan\"\ndriver = \"afxdp\"\ndevice = \"eth1\"",
            "f.toml:6: port.name: \"lan\" names two ports: give each port a name of its own",
        ),
        (
            "[[port]]\nname = \"wan\"\ndriver = \"afxdp\"\ndevice = \"eth0\"",
            "f.toml:8: port.device: \"eth0\" already belongs to \"lan\": give each port a device of its own",
        ),
        (
            "[[port]]\nname = \"wan\"\ndriver = \"afxdp\"\ndevice = \"lan\"",
            "f.toml:8: port.device: \"lan\" is the name of a port's TAP: give the port another name than a device",
        ),
        (
            "[[port]]\nname = \"wan\"\ndriver = \"afxdp\"",
            "f.toml:5: port.device: missing: add device = ... to this [[port]]",
        ),
        (
            "[[port]]\nname = \"wan\"\ndriver = \"afxpd\"",
            "f.toml:7: port.driver: unknown driver \"afxpd\": the nearest known driver is \"afxdp\"",
        ),
        (
            "[[port]]\nname = \"a/b\"\ndriver = \"afxdp\"",
            "f.toml:6: port.name: \"a/b\" holds a character that no interface name may have: use 1 to 15 bytes without \"/\", \":\", \"%\" and spaces",
        ),
        (
            "[[port]]\nname = \"abcdefghijklmnop\"\ndriver = \"afxdp\"",
            "f.toml:6: port.name: \"abcdefghijklmnop\" is 16 bytes long: use 1 to 15 bytes without \"/\", \":\", \"%\" and spaces",
        ),
        (
            "[[port]]\nname = \"p%d\"\ndriver = \"afxdp\"",
            "f.toml:6: port.name: \"p%d\" holds a character that no interface name may have: use 1 to 15 bytes without \"/\", \":\", \"%\" and spaces",
        ),
        (
            "[[port]]\nname = \"all\"\ndriver = \"afxdp\"",
            "f.toml:6: port.name: \"all\" means every interface in the kernel's settings: use 1 to 15 bytes without \"/\", \":\", \"%\" and spaces",
        ),
        (
            "[[port]]\nname = \"..\"\ndriver = \"afxdp\"",
            "f.toml:6: port.name: \"..\" is no interface name: use 1 to 15 bytes without \"/\", \":\", \"%\" and spaces",
        ),
    ] {
        assert_eq!(read(&port_with(extra)).unwrap_err(), line);
    }
    assert!(read(&port_with("mtu = 68")).is_ok());
    assert!(read(&port_with("mtu = 3_818")).is_ok());
}

#[test]
fn a_port_on_a_pci_function_is_read_and_its_address_written_as_sysfs_does() {
    let text = |line: &str| {
        format!("[[port]]\nname = \"wan\"\ndriver = \"ixgbe\"\ndevice = \"3:0.1\"\n{line}\n")
    };
    let port = read(&text("bind = \"vfio-pci\"\nmtu = 9000\nqueues = 16"))
        .unwrap()
        .ports
        .remove(0);
    assert_eq!(
        (port.driver, port.device.as_str()),
        (Driver::Ixgbe, "0000:03:00.1")
    );
    assert_eq!(port.bind, Some(KernelDriver::VfioPci));
    assert_eq!((port.mtu, port.queues), (Some(9000), Some(16)));
    for (extra, line) in [
        (
            "bind = \"ixgbe\"",
            "f.toml:5: port.bind: \"ixgbe\" is no driver that lends devices to ixmapd: use \"ixmap\" or \"vfio-pci\"",
        ),
        (
            "queues = 17",
            "f.toml:5: port.queues: 17 is no number of queues: use 1 to 16, or leave the key out for one a worker",
        ),
        (
            "[[port]]\nname = \"lan\"\ndriver = \"ixgbe\"\ndevice = \"0000:03:00.1\"",
            "f.toml:8: port.device: \"0000:03:00.1\" already belongs to \"wan\": give each port a device of its own",
        ),
        (
            "[[port]]\nname = \"lan\"\ndriver = \"ixgbe\"\ndevice = \"eth0\"",
            "f.toml:8: port.device: \"eth0\" is no PCI address: write it like 0000:03:00.1, as `lspci -D` shows it",
        ),
    ] {
        assert_eq!(read(&text(extra)).unwrap_err(), line);
    }
    assert_eq!(
        read(&port_with("bind = \"ixmap\"")).unwrap_err(),
        "f.toml:5: port.bind: a port of driver \"afxdp\" is not bound: remove the key: it is for ports of driver \"ixgbe\""
    );
}

#[test]
fn the_example_file_stands_with_every_commented_key_in_force() {
    let example = include_str!("../../../dist/ixmap.toml");
    let plain = read(example).unwrap();
    assert_eq!((plain.ports.len(), plain.group), (2, None));
    // By the file's own convention a key that is commented out follows its # at once.
    let full: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let full = read(&full).unwrap();
    assert_eq!(full.group.as_deref(), Some("ixmap"));
    assert_eq!(full.cores, [2, 3]);
    assert_eq!(full.fib_memory_mib, 64);
    assert_eq!(full.audit_seconds, 0);
    assert_eq!(
        (full.ports[0].mtu, full.ports[0].queues),
        (Some(1500), Some(1))
    );
}

#[test]
fn a_missing_file_says_how_to_do_without() {
    let error = load(Path::new("/nowhere/ixmap.toml"), &machine()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/ixmap.toml: cannot be read (No such file or directory (os error 2)): write it, or name ports with --port NAME=DRIVER:DEVICE"
    );
}

#[test]
fn a_file_that_nests_without_end_is_refused() {
    let line = read(&format!("[daemon]\nlog = {}", "[".repeat(100_000))).unwrap_err();
    assert!(line.starts_with("f.toml:2: "), "{line}");
    assert!(!line.contains('\n'));
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_configuration_or_one_line(text in "[\\[\\]a-z\"= \n\u{0}-\u{1f}]{0,120}") {
        if let Err(line) = read(&text) {
            proptest::prop_assert!(!line.chars().any(char::is_control), "{line:?}");
        }
    }
}
