//! Single values, read the same way from the file, the command line and `ixmapctl port add`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::control::fault::{Fault, nearest};
use crate::dataplane::port::ixgbe;
use crate::shared::config::{
    AUDIT_SECONDS, Driver, FIB_MEMORY_MIB, Idle, KernelDriver, PortConfig,
};
use crate::shared::pci::PciAddress;
use crate::shared::port::MAX_PORTS;

/// The longest interface name: IFNAMSIZ without its terminator.
const MAX_NAME: usize = 15;
/// The longest socket path: sun_path without its terminator (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// Smallest MTU of IPv4 (RFC 791) and the largest of any driver; others may take less.
const MTU: std::ops::RangeInclusive<i64> = 68..=ixgbe::MAX_MTU as i64;
/// Queues that the 82599 spreads flows over (RSS).
const MAX_QUEUES: u16 = 16;
/// Core ids beyond this are typing errors; it also bounds what a range like `0-99999` may build.
const MAX_CORE: usize = 4095;

/// A TAP's name: what the kernel takes as an interface name.
pub(crate) fn port_name(name: &str) -> Result<String, Fault> {
    let wrong = if name.is_empty() {
        "a port's name is empty".to_owned()
    } else if name.len() > MAX_NAME {
        format!("\"{name}\" is {} bytes long", name.len())
    } else if name == "." || name == ".." {
        format!("\"{name}\" is no interface name")
    } else if ["all", "default"].contains(&name) {
        format!("\"{name}\" means every interface in the kernel's settings")
    } else if name
        .contains(|c: char| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control())
    {
        format!("\"{name}\" holds a character that no interface name may have")
    } else {
        return Ok(name.to_owned());
    };
    Err(Fault::new(
        wrong,
        format!("use 1 to {MAX_NAME} bytes without \"/\", \":\", \"%\" and spaces"),
    ))
}

pub(super) fn driver(name: &str) -> Result<Driver, Fault> {
    let known = || Driver::ALL.iter().map(|driver| driver.name());
    Driver::ALL
        .iter()
        .copied()
        .find(|driver| driver.name() == name)
        .ok_or_else(|| {
            let hint = nearest(name, known()).unwrap_or_default();
            Fault::new(
                format!("unknown driver \"{name}\""),
                format!("the nearest known driver is \"{hint}\""),
            )
        })
}

/// A device in the terms of its driver.
pub(super) fn device(driver: Driver, device: &str) -> Result<String, Fault> {
    match driver {
        Driver::Afxdp => port_name(device).map_err(|_| {
            Fault::new(
                format!("\"{device}\" is no network device's name"),
                "use a name that `ip link` shows",
            )
        }),
        Driver::Ixgbe => device
            .parse::<PciAddress>()
            .map(|address| address.to_string())
            .map_err(|_| {
                Fault::new(
                    format!("\"{device}\" is no PCI address"),
                    "write it like 0000:03:00.1, as `lspci -D` shows it",
                )
            }),
    }
}

/// The kernel's driver that a port's PCI function is to be bound to.
pub(super) fn bind(driver: Driver, name: &str) -> Result<KernelDriver, Fault> {
    if driver != Driver::Ixgbe {
        return Err(Fault::new(
            format!("a port of driver \"{driver}\" is not bound"),
            "remove the key: it is for ports of driver \"ixgbe\"",
        ));
    }
    let mut known = KernelDriver::ALL.iter().copied();
    known.find(|known| known.name() == name).ok_or_else(|| {
        Fault::new(
            format!("\"{name}\" is no driver that lends devices to ixmapd"),
            "use \"ixmap\" or \"vfio-pci\"",
        )
    })
}

pub(super) fn mtu(value: i64) -> Result<u16, Fault> {
    u16::try_from(value)
        .ok()
        .filter(|_| MTU.contains(&value))
        .ok_or_else(|| {
            Fault::new(
                format!("{value} is no MTU that ixmap can use"),
                format!("use {} to {}", MTU.start(), MTU.end()),
            )
        })
}

pub(super) fn queues(driver: Driver, value: i64) -> Result<u16, Fault> {
    let (most, advice) = match driver {
        Driver::Afxdp => (
            u16::MAX,
            "use 1 or more, or leave the key out for all of the device's",
        ),
        Driver::Ixgbe => (
            MAX_QUEUES,
            "use 1 to 16, or leave the key out for one a worker",
        ),
    };
    u16::try_from(value)
        .ok()
        .filter(|queues| (1..=most).contains(queues))
        .ok_or_else(|| Fault::new(format!("{value} is no number of queues"), advice))
}

pub(super) fn fib_memory(mib: i64) -> Result<u16, Fault> {
    u16::try_from(mib)
        .ok()
        .filter(|mib| FIB_MEMORY_MIB.contains(mib))
        .ok_or_else(|| {
            let (least, most) = (FIB_MEMORY_MIB.start(), FIB_MEMORY_MIB.end());
            Fault::new(
                format!("{mib} MiB is no size of a forwarding table"),
                format!("use {least} to {most}, or leave the key out for {most}"),
            )
        })
}

pub(super) fn audit(seconds: i64) -> Result<u32, Fault> {
    u32::try_from(seconds)
        .ok()
        .filter(|seconds| *seconds == 0 || AUDIT_SECONDS.contains(seconds))
        .ok_or_else(|| {
            let (least, most) = (AUDIT_SECONDS.start(), AUDIT_SECONDS.end());
            Fault::new(
                format!("{seconds} s is no time between audits"),
                format!("use {least} to {most}, 0 for none, or leave the key out for 300"),
            )
        })
}

pub(super) fn idle(name: &str) -> Result<Idle, Fault> {
    Idle::ALL
        .iter()
        .copied()
        .find(|idle| idle.name() == name)
        .ok_or_else(|| {
            Fault::new(
                format!("unknown strategy \"{name}\""),
                "use \"poll\" or \"adaptive\"",
            )
        })
}

/// `off`, or where to listen.
pub(crate) fn metrics(text: &str) -> Result<Option<SocketAddr>, Fault> {
    if text == "off" {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        Fault::new(
            format!("\"{text}\" is no address to listen on"),
            "use ADDR:PORT such as 127.0.0.1:9473 or [::1]:9473, or \"off\"",
        )
    })
}

pub(crate) fn socket(path: &Path) -> Result<PathBuf, Fault> {
    let length = path.as_os_str().len();
    if !path.is_absolute() || path.file_name().is_none() {
        return Err(Fault::new(
            format!("\"{}\" is no absolute path of a file", path.display()),
            "start it with / and end it with the socket's name",
        ));
    }
    if length > MAX_SOCKET_PATH {
        return Err(Fault::new(
            format!("the path is {length} bytes long"),
            format!("a Unix socket's path has at most {MAX_SOCKET_PATH}"),
        ));
    }
    Ok(path.to_owned())
}

pub(super) fn core(value: i64) -> Result<usize, Fault> {
    usize::try_from(value)
        .ok()
        .filter(|core| *core <= MAX_CORE)
        .ok_or_else(|| Fault::new(format!("{value} is no core id"), "use ids from `lscpu -e`"))
}

/// A list of core ids: `1`, `2-5`, `2,4`.
pub fn core_list(text: &str) -> Result<Vec<usize>, Fault> {
    let wrong = || {
        Fault::new(
            format!("\"{text}\" is no list of cores"),
            "write it like 1, 2-5 or 2,4",
        )
    };
    let id = |text: &str| {
        text.parse()
            .map_err(|_| wrong())
            .and_then(|value: u32| core(i64::from(value)))
    };
    let mut cores = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (id(first)?, id(last)?);
        if first > last || cores.len() > MAX_CORE {
            return Err(wrong());
        }
        cores.extend(first..=last);
    }
    Ok(cores)
}

/// A port on one line: `NAME=DRIVER:DEVICE`.
pub fn port_spec(text: &str) -> Result<PortConfig, Fault> {
    let [name, driver_name, device_name] = split_port(text)?;
    let driver = driver(driver_name)?;
    Ok(PortConfig {
        name: port_name(name)?,
        driver,
        device: device(driver, device_name)?,
        bind: None,
        mtu: None,
        queues: None,
        promiscuous: false,
    })
}

/// The name, driver and device of `NAME=DRIVER:DEVICE`, whatever they are.
pub(crate) fn split_port(text: &str) -> Result<[&str; 3], Fault> {
    text.split_once('=')
        .and_then(|(name, rest)| Some((name, rest.split_once(':')?)))
        .map(|(name, (driver, device))| [name, driver, device])
        .ok_or_else(|| {
            Fault::new(
                format!("\"{text}\" is no port"),
                "write NAME=DRIVER:DEVICE, such as lan0=afxdp:eth0",
            )
        })
}

/// A port that cannot stand beside the ones before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// Its place in the list.
    pub index: usize,
    /// The key that is in the way: `name` or `device`.
    pub key: &'static str,
    pub fault: Fault,
}

/// Looks for ports that cannot run together: the whole list, whatever its entries came from.
pub fn check_ports(ports: &[PortConfig]) -> Result<(), Conflict> {
    for (index, port) in ports.iter().enumerate() {
        let conflict = |key, wrong, remedy: &str| {
            Err(Conflict {
                index,
                key,
                fault: Fault::new(wrong, remedy),
            })
        };
        let earlier = &ports[..index];
        if index >= MAX_PORTS {
            let wrong = format!("more than {MAX_PORTS} ports");
            return conflict("name", wrong, "run a second daemon for the others");
        }
        if earlier.iter().any(|other| other.name == port.name) {
            let wrong = format!("\"{}\" names two ports", port.name);
            return conflict("name", wrong, "give each port a name of its own");
        }
        if let Some(other) = earlier.iter().find(|other| other.device == port.device) {
            let wrong = format!("\"{}\" already belongs to \"{}\"", port.device, other.name);
            return conflict("device", wrong, "give each port a device of its own");
        }
        if ports.iter().any(|other| other.name == port.device) {
            let wrong = format!("\"{}\" is the name of a port's TAP", port.device);
            return conflict("device", wrong, "give the port another name than a device");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_are_read_as_taskset_writes_them() {
        assert_eq!(core_list("1"), Ok(vec![1]));
        assert_eq!(core_list("2-5"), Ok(vec![2, 3, 4, 5]));
        assert_eq!(core_list("2,4"), Ok(vec![2, 4]));
        assert_eq!(core_list("0,2-3"), Ok(vec![0, 2, 3]));
        for text in [
            "",
            "a",
            "1,",
            "3-1",
            "1-",
            "-1",
            "1-2-3",
            "+",
            "0-99999999",
            "99999999999",
        ] {
            let fault = core_list(text).unwrap_err().to_string();
            assert!(!fault.contains('\n'), "{text}: {fault}");
        }
    }

    #[test]
    fn a_port_spec_gives_name_driver_and_device() {
        let port = port_spec("lan0=afxdp:eth0").unwrap();
        assert_eq!(port.name, "lan0");
        assert_eq!(port.driver, Driver::Afxdp);
        assert_eq!(port.device, "eth0");
        assert_eq!(
            (port.mtu, port.queues, port.promiscuous),
            (None, None, false)
        );
    }

    #[test]
    fn a_bad_port_spec_says_what_to_write_instead() {
        for (text, message) in [
            (
                "lan0",
                "\"lan0\" is no port: write NAME=DRIVER:DEVICE, such as lan0=afxdp:eth0",
            ),
            (
                "lan0=eth0",
                "\"lan0=eth0\" is no port: write NAME=DRIVER:DEVICE, such as lan0=afxdp:eth0",
            ),
            (
                "lan0=afxpd:eth0",
                "unknown driver \"afxpd\": the nearest known driver is \"afxdp\"",
            ),
            (
                "=afxdp:eth0",
                "a port's name is empty: use 1 to 15 bytes without \"/\", \":\", \"%\" and spaces",
            ),
            (
                "lan0=afxdp:",
                "\"\" is no network device's name: use a name that `ip link` shows",
            ),
        ] {
            assert_eq!(port_spec(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn metrics_are_an_address_or_off() {
        assert_eq!(metrics("off"), Ok(None));
        assert_eq!(metrics("[::1]:9473").unwrap().unwrap().port(), 9473);
        assert!(metrics("localhost:9473").is_err());
        assert!(metrics("127.0.0.1").is_err());
    }

    #[test]
    fn one_port_more_than_the_tables_hold_is_refused() {
        let ports: Vec<_> = (0..=MAX_PORTS)
            .map(|n| port_spec(&format!("p{n}=afxdp:eth{n}")).unwrap())
            .collect();
        assert_eq!(check_ports(&ports[..MAX_PORTS]), Ok(()));
        assert_eq!(check_ports(&ports).unwrap_err().index, MAX_PORTS);
    }
}
