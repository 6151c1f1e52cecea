//! What a netdev's driver tells and lets set by SIOCETHTOOL: queues, offloads, speed
//! (linux/ethtool.h). Only the old commands of plain structs, which every kernel still serves.

#![allow(unsafe_code, reason = "passes pointers to ethtool's structs")]

use std::io;

use super::netdev::Netdev;

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

impl Netdev {
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
        let directory = format!("/sys/class/net/{}/queues", self.name());
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
        let argument = libc::__c_anonymous_ifr_ifru { ifru_data };
        // SAFETY: SIOCETHTOOL takes such a pointer, and the caller promised that it is to the right struct.
        unsafe { self.call(libc::SIOCETHTOOL, argument) }.map(drop)
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
