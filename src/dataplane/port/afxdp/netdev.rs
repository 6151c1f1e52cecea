//! A netdev by ioctl: flags, MTU, addresses, and the few ethtool settings that matter to AF_XDP.
//!
//! The requests go to the netdev of the name in the network namespace of the thread that opened it;
//! unlike /sys, that also holds where /sys was not mounted anew.

#![allow(unsafe_code, reason = "ioctl by libc, with unions and pointers")]

use std::ffi::c_char;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::error::OpenError;
use super::sys;
use crate::shared::mac::MacAddr;

const ETHTOOL_GSET: u32 = 0x01;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_SGRO: u32 = 0x2c;
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_SCHANNELS: u32 = 0x3d;

/// The device strips VLAN tags from received frames (ETH_FLAG_RXVLAN).
pub(super) const FLAG_RX_VLAN: u32 = 1 << 8;
/// The device merges received segments (ETH_FLAG_LRO).
pub(super) const FLAG_LRO: u32 = 1 << 15;

/// How many queues a device has and may have (`struct ethtool_channels`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx: u32,
    tx: u32,
    other: u32,
    combined: u32,
}

impl Channels {
    /// Receive queues in use.
    pub(super) fn receiving(&self) -> u32 {
        self.rx + self.combined
    }

    /// Receive queues at most.
    pub(super) fn most(&self) -> u32 {
        self.max_rx.max(self.max_combined)
    }

    /// These, with `queues` receive queues, and as many transmit queues.
    pub(super) fn with(self, queues: u32) -> Channels {
        if self.max_combined > 0 {
            return Channels {
                combined: queues,
                rx: 0,
                tx: 0,
                ..self
            };
        }
        Channels {
            rx: queues,
            tx: queues.min(self.max_tx),
            ..self
        }
    }
}

/// `struct ethtool_value`
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// `struct ethtool_drvinfo`
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    version: [u8; 32],
    firmware: [u8; 32],
    bus: [u8; 32],
    rom: [u8; 32],
    reserved: [u8; 12],
    counts: [u32; 5],
}

/// `struct ethtool_cmd`: as far as it tells the speed.
#[repr(C)]
#[derive(Default)]
struct Link {
    command: u32,
    supported: u32,
    advertising: u32,
    speed: u16,
    duplex: u8,
    port: u8,
    phy: u8,
    transceiver: u8,
    negotiation: u8,
    mdio: u8,
    max_packets: [u32; 2],
    speed_high: u16,
    mdi: [u8; 2],
    partner: u32,
    reserved: [u32; 2],
}

/// Which driver runs a netdev, and on which bus its device sits: empty, or no address, for a
/// virtual one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Driver {
    pub(super) name: String,
    pub(super) bus: String,
}

impl Driver {
    /// No bus, or none with devices behind it: "", "N/A", "tap".
    pub(super) fn is_virtual(&self) -> bool {
        !self.bus.contains([':', '-', '.'])
    }
}

/// A netdev that existed when it was opened.
#[derive(Debug)]
pub(super) struct Netdev {
    control: OwnedFd,
    name: String,
    name_field: [c_char; libc::IFNAMSIZ],
    ifindex: u32,
}

impl Netdev {
    /// Finds the netdev of this name in the calling thread's network namespace.
    pub(super) fn open(name: &str) -> Result<Netdev, OpenError> {
        let printable = name
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/');
        if name.is_empty() || name.len() >= libc::IFNAMSIZ || !printable || name.starts_with('.') {
            return Err(OpenError::BadName(name.to_owned()));
        }
        let mut name_field = [0; libc::IFNAMSIZ];
        for (to, from) in name_field.iter_mut().zip(name.bytes()) {
            *to = from.cast_signed();
        }
        let what = "look it up";
        let control = sys::socket(libc::AF_INET, libc::SOCK_DGRAM)
            .map_err(|source| OpenError::system(name, what, source))?;
        let mut netdev = Netdev {
            control,
            name: name.to_owned(),
            name_field,
            ifindex: 0,
        };
        let request = netdev
            .get(libc::SIOCGIFINDEX)
            .map_err(|source| OpenError::system(name, what, source))?;
        // SAFETY: SIOCGIFINDEX filled in this member.
        netdev.ifindex = unsafe { request.ifr_ifru.ifru_ifindex }.unsigned_abs();
        Ok(netdev)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The Ethernet address; `None` for a netdev that is not an Ethernet one.
    pub(super) fn mac(&self) -> io::Result<Option<MacAddr>> {
        let request = self.get(libc::SIOCGIFHWADDR)?;
        // SAFETY: SIOCGIFHWADDR filled in this member.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        if address.sa_family != libc::ARPHRD_ETHER {
            return Ok(None);
        }
        let bytes: Vec<u8> = address.sa_data.iter().map(|b| b.cast_unsigned()).collect();
        Ok(MacAddr::from_slice(&bytes[..6]))
    }

    pub(super) fn mtu(&self) -> io::Result<u32> {
        let request = self.get(libc::SIOCGIFMTU)?;
        // SAFETY: SIOCGIFMTU filled in this member.
        Ok(unsafe { request.ifr_ifru.ifru_mtu }.unsigned_abs())
    }

    pub(super) fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        let ifru_mtu = i32::try_from(mtu).map_err(io::Error::other)?;
        self.call(libc::SIOCSIFMTU, libc::__c_anonymous_ifr_ifru { ifru_mtu })
            .map(drop)
    }

    /// True when the netdev is administratively up.
    pub(super) fn is_up(&self) -> io::Result<bool> {
        Ok(self.flags()? & libc::IFF_UP != 0)
    }

    /// True when it is up and has a carrier.
    pub(super) fn is_running(&self) -> io::Result<bool> {
        let both = libc::IFF_UP | libc::IFF_RUNNING;
        Ok(self.flags()? & both == both)
    }

    pub(super) fn set_up(&self, up: bool) -> io::Result<()> {
        let flags = self.flags()?;
        let flags = if up {
            flags | libc::IFF_UP
        } else {
            flags & !libc::IFF_UP
        };
        // Sixteen bits: SIOCGIFFLAGS gave no more.
        let ifru_flags = u16::try_from(flags)
            .map_err(io::Error::other)?
            .cast_signed();
        self.call(
            libc::SIOCSIFFLAGS,
            libc::__c_anonymous_ifr_ifru { ifru_flags },
        )
        .map(drop)
    }

    fn flags(&self) -> io::Result<i32> {
        let request = self.get(libc::SIOCGIFFLAGS)?;
        // SAFETY: SIOCGIFFLAGS filled in this member.
        Ok(i32::from(
            unsafe { request.ifr_ifru.ifru_flags }.cast_unsigned(),
        ))
    }

    pub(super) fn driver(&self) -> io::Result<Driver> {
        let mut info = DriverInfo {
            command: ETHTOOL_GDRVINFO,
            driver: [0; 32],
            version: [0; 32],
            firmware: [0; 32],
            bus: [0; 32],
            rom: [0; 32],
            reserved: [0; 12],
            counts: [0; 5],
        };
        // SAFETY: the struct of ETHTOOL_GDRVINFO.
        unsafe { self.ethtool(&mut info)? };
        Ok(Driver {
            name: text(&info.driver),
            bus: text(&info.bus),
        })
    }

    /// Speed of the link in Mbit/s; `None` when there is none or the driver doesn't say.
    pub(super) fn speed(&self) -> Option<u32> {
        let mut link = Link {
            command: ETHTOOL_GSET,
            ..Link::default()
        };
        // SAFETY: the struct of ETHTOOL_GSET.
        unsafe { self.ethtool(&mut link) }.ok()?;
        let speed = u32::from(link.speed_high) << 16 | u32::from(link.speed);
        Some(speed).filter(|&speed| speed != 0 && speed != u32::MAX && speed != 0xffff)
    }

    pub(super) fn channels(&self) -> io::Result<Channels> {
        let mut channels = Channels {
            command: ETHTOOL_GCHANNELS,
            ..Channels::default()
        };
        // SAFETY: the struct of ETHTOOL_GCHANNELS.
        unsafe { self.ethtool(&mut channels)? };
        Ok(channels)
    }

    pub(super) fn set_channels(&self, channels: &Channels) -> io::Result<()> {
        let mut channels = Channels {
            command: ETHTOOL_SCHANNELS,
            ..*channels
        };
        // SAFETY: the struct of ETHTOOL_SCHANNELS.
        unsafe { self.ethtool(&mut channels) }
    }

    /// Receive queues: what the driver says, else what /sys counts, and at least one.
    pub(super) fn rx_queues(&self) -> u32 {
        if let Ok(channels) = self.channels()
            && channels.receiving() > 0
        {
            return channels.receiving();
        }
        let directory = format!("/sys/class/net/{}/queues", self.name);
        let count = std::fs::read_dir(directory).map_or(0, |entries| {
            entries
                .flatten()
                .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"rx-"))
                .count()
        });
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    }

    /// ETHTOOL_GFLAGS: [`FLAG_LRO`], [`FLAG_RX_VLAN`] and others.
    pub(super) fn features(&self) -> io::Result<u32> {
        self.value(ETHTOOL_GFLAGS, 0)
    }

    pub(super) fn set_features(&self, flags: u32) -> io::Result<()> {
        self.value(ETHTOOL_SFLAGS, flags).map(drop)
    }

    pub(super) fn gro(&self) -> io::Result<bool> {
        Ok(self.value(ETHTOOL_GGRO, 0)? != 0)
    }

    pub(super) fn set_gro(&self, on: bool) -> io::Result<()> {
        self.value(ETHTOOL_SGRO, u32::from(on)).map(drop)
    }

    fn value(&self, command: u32, data: u32) -> io::Result<u32> {
        let mut value = Value { command, data };
        // SAFETY: the struct of the commands that get or set one value.
        unsafe { self.ethtool(&mut value)? };
        Ok(value.data)
    }

    /// Calls SIOCETHTOOL.
    ///
    /// # Safety
    /// `T` must be the C struct of the command in its first field, and any bytes one of its values.
    unsafe fn ethtool<T>(&self, data: &mut T) -> io::Result<()> {
        let ifru_data = std::ptr::from_mut(data).cast();
        self.call(
            libc::SIOCETHTOOL,
            libc::__c_anonymous_ifr_ifru { ifru_data },
        )
        .map(drop)
    }

    fn get(&self, request: libc::c_ulong) -> io::Result<libc::ifreq> {
        self.call(request, libc::__c_anonymous_ifr_ifru { ifru_ifindex: 0 })
    }

    /// One ioctl about this netdev. Private: the callers see to it that the argument is the union's
    /// member that the request takes.
    fn call(
        &self,
        request: libc::c_ulong,
        argument: libc::__c_anonymous_ifr_ifru,
    ) -> io::Result<libc::ifreq> {
        let mut ifreq = libc::ifreq {
            ifr_name: self.name_field,
            ifr_ifru: argument,
        };
        // SAFETY: every request here takes an ifreq, which is live; a pointer within it
        // (SIOCETHTOOL) is the one that `ethtool` was promised to be right.
        sys::check(unsafe { libc::ioctl(self.control.as_raw_fd(), request, &raw mut ifreq) })?;
        Ok(ifreq)
    }
}

/// A zero-terminated field as text.
fn text(field: &[u8]) -> String {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(&field[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ethtool_structs_have_the_sizes_of_the_kernels() {
        assert_eq!(size_of::<DriverInfo>(), 196);
        assert_eq!(size_of::<Channels>(), 36);
        assert_eq!(size_of::<Link>(), 44);
    }

    #[test]
    fn what_cannot_be_a_netdev_name_is_refused_before_the_kernel_is_asked() {
        for name in ["", "sixteen-bytes-xx", "a/b", "a b", "..", "é"] {
            assert!(
                matches!(Netdev::open(name), Err(OpenError::BadName(_))),
                "{name:?}"
            );
        }
        assert!(matches!(
            Netdev::open("fifteen-bytes-x"),
            Err(OpenError::NoDevice(_))
        ));
    }

    #[test]
    fn the_loopback_is_no_ethernet_device() {
        assert_eq!(Netdev::open("lo").unwrap().mac().unwrap(), None);
    }

    #[test]
    fn a_netdev_without_a_bus_address_is_virtual() {
        let on = |bus: &str| Driver {
            bus: bus.into(),
            ..Driver::default()
        };
        for bus in ["", "N/A", "tap"] {
            assert!(on(bus).is_virtual(), "{bus}");
        }
        for bus in ["0000:03:00.0", "usb-0000:00:14.0-2", "fd580000.ethernet"] {
            assert!(!on(bus).is_virtual(), "{bus}");
        }
    }

    #[test]
    fn queues_are_changed_where_the_driver_has_them() {
        let combined = Channels {
            max_combined: 8,
            combined: 8,
            ..Channels::default()
        };
        assert_eq!(combined.with(2).receiving(), 2);
        let separate = Channels {
            max_rx: 4,
            max_tx: 2,
            rx: 1,
            tx: 1,
            ..Channels::default()
        };
        let wanted = separate.with(3);
        assert_eq!((wanted.rx, wanted.tx, wanted.combined), (3, 2, 0));
    }
}
