//! What a port changes about its netdev, and the way back.

use std::fs;
use std::io;

use super::error::OpenError;
use super::ethtool::{Channels, FLAG_LRO, FLAG_RX_VLAN};
use super::netdev::{Address6, Netdev};

/// One changed setting, with the value to put back.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Change {
    Channels(Channels),
    Mtu(u32),
    /// disable_ipv6 as it was, and the addresses that the kernel forgot by it.
    Ipv6(String, Vec<Address6>),
    Features(u32),
    GroOff,
    Up,
}

/// The changes made so far, oldest first.
#[derive(Debug, Default)]
pub(super) struct Settings {
    changes: Vec<Change>,
}

impl Settings {
    /// Sets the number of receive queues.
    pub(super) fn queues(&mut self, netdev: &Netdev, wanted: u32) -> Result<(), OpenError> {
        let now = netdev.rx_queues();
        if wanted == now {
            return Ok(());
        }
        let most = netdev.channels().map_or(now, |channels| channels.most());
        if wanted == 0 || wanted > most {
            return Err(OpenError::TooManyQueues {
                device: netdev.name().to_owned(),
                wanted,
                max: most,
            });
        }
        let failed = |source| OpenError::system(netdev.name(), "set its queues", source);
        let before = netdev.channels().map_err(failed)?;
        netdev.set_channels(&before.with(wanted)).map_err(failed)?;
        self.changes.push(Change::Channels(before));
        Ok(())
    }

    pub(super) fn mtu(&mut self, netdev: &Netdev, wanted: u32) -> Result<(), OpenError> {
        let failed = |source| OpenError::system(netdev.name(), "set its mtu", source);
        let before = netdev.mtu().map_err(failed)?;
        if before != wanted {
            netdev.set_mtu(wanted).map_err(failed)?;
            self.changes.push(Change::Mtu(before));
        }
        Ok(())
    }

    /// Keeps the kernel from speaking IPv6 on the netdev itself: its link-local address is that of
    /// the port's TAP.
    pub(super) fn no_ipv6(&mut self, netdev: &Netdev) -> Result<(), OpenError> {
        let path = ipv6_path(netdev);
        // No such file: a kernel without IPv6.
        let Ok(before) = fs::read_to_string(&path) else {
            return Ok(());
        };
        if before.trim() != "1" {
            let addresses = netdev.addresses6();
            fs::write(&path, "1")
                .map_err(|source| OpenError::system(netdev.name(), "disable its IPv6", source))?;
            self.changes.push(Change::Ipv6(before, addresses));
        }
        Ok(())
    }

    /// Switches off what would hide bytes of a frame from us: VLAN tags that the device strips,
    /// segments that it merges. Devices where these are fixed stay as they are.
    pub(super) fn whole_frames(&mut self, netdev: &Netdev) {
        let Ok(before) = netdev.features() else {
            return;
        };
        for flag in [FLAG_LRO, FLAG_RX_VLAN] {
            let Ok(now) = netdev.features() else { break };
            if now & flag != 0 {
                // A refusal leaves things as they are.
                let _ = netdev.set_features(now & !flag);
            }
        }
        if netdev.features().is_ok_and(|now| now != before) {
            self.changes.push(Change::Features(before));
        }
    }

    /// True when the device still strips VLAN tags.
    pub(super) fn hides_tags(netdev: &Netdev) -> bool {
        let features = netdev.features().unwrap_or(0);
        features & FLAG_RX_VLAN != 0
    }

    /// Switches off the stack's own merging of segments: before a generic program it would make
    /// frames that are longer than the MTU.
    pub(super) fn no_gro(&mut self, netdev: &Netdev) {
        if netdev.gro().unwrap_or(false) && netdev.set_gro(false).is_ok() {
            self.changes.push(Change::GroOff);
        }
    }

    pub(super) fn up(&mut self, netdev: &Netdev) -> Result<(), OpenError> {
        let failed = |source| OpenError::system(netdev.name(), "set it up", source);
        if !netdev.is_up().map_err(failed)? {
            netdev.set_up(true).map_err(failed)?;
            self.changes.push(Change::Up);
        }
        Ok(())
    }

    /// Puts everything back, latest change first; returns what could not be put back.
    pub(super) fn restore(&mut self, netdev: &Netdev) -> Vec<String> {
        let mut failures = Vec::new();
        while let Some(change) = self.changes.pop() {
            if let Err(error) = change.undo(netdev)
                && !is_gone(&error)
            {
                let what = change.what();
                failures.push(format!("{}: cannot restore {what}: {error}", netdev.name()));
            }
        }
        failures
    }
}

/// A netdev that is gone has nothing to be put back.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT))
}

impl Change {
    fn undo(&self, netdev: &Netdev) -> io::Result<()> {
        match self {
            Change::Channels(before) => netdev.set_channels(before),
            Change::Mtu(before) => netdev.set_mtu(*before),
            Change::Ipv6(before, addresses) => {
                fs::write(ipv6_path(netdev), before)?;
                addresses
                    .iter()
                    .try_for_each(|one| netdev.add_address6(one))
            }
            Change::Features(before) => netdev.set_features(*before),
            Change::GroOff => netdev.set_gro(true),
            Change::Up => netdev.set_up(false),
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Change::Channels(_) => "its queues",
            Change::Mtu(_) => "its mtu",
            Change::Ipv6(..) => "its IPv6",
            Change::Features(_) => "its offloads",
            Change::GroOff => "gro",
            Change::Up => "its state down",
        }
    }
}

fn ipv6_path(netdev: &Netdev) -> String {
    format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", netdev.name())
}
