//! A netdev by ioctl: flags, MTU and addresses; `ethtool` has the driver's settings.
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

/// A permanent IPv6 address that somebody gave a netdev (`struct in6_ifreq`).
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Address6 {
    address: [u8; 16],
    prefix_len: u32,
    ifindex: u32,
}

impl Address6 {
    /// Reads a line of /proc/net/if_inet6: address, ifindex, prefix length, scope and flags in hex,
    /// and the name. `None` for link-local and temporary addresses, which the kernel makes anew.
    fn parse(line: &str) -> Option<Address6> {
        const PERMANENT: u32 = 0x80;
        const GLOBAL: u32 = 0;
        let mut words = line.split_ascii_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let mut number = || u32::from_str_radix(words.next()?, 16).ok();
        let (ifindex, prefix_len, scope, flags) = (number()?, number()?, number()?, number()?);
        (scope == GLOBAL && flags & PERMANENT != 0).then_some(Address6 {
            address: address.to_be_bytes(),
            prefix_len,
            ifindex,
        })
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
        let mut name_field: [libc::c_char; libc::IFNAMSIZ] = [0; libc::IFNAMSIZ];
        for (to, from) in name_field.iter_mut().zip(name.bytes()) {
            *to = libc::c_char::from_ne_bytes([from]);
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
        // SAFETY: SIOCGIFINDEX looks at the name alone.
        let request = unsafe { netdev.get(libc::SIOCGIFINDEX) }
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

    /// Finds the netdev again by its ifindex, since a name can be changed or pass to another netdev;
    /// false when it is gone.
    pub(super) fn find_again(&mut self) -> bool {
        let ifru_ifindex = self.ifindex.cast_signed();
        let argument = libc::__c_anonymous_ifr_ifru { ifru_ifindex };
        // SAFETY: SIOCGIFNAME takes an index.
        match unsafe { self.call(libc::SIOCGIFNAME, argument) } {
            Ok(request) => {
                let name = request.ifr_name.map(unsigned).into_iter();
                let name: Vec<u8> = name.take_while(|byte| *byte != 0).collect();
                self.name = String::from_utf8_lossy(&name).into_owned();
                self.name_field = request.ifr_name;
                true
            }
            Err(error) => error.raw_os_error() != Some(libc::ENODEV),
        }
    }

    /// The Ethernet address; `None` for a netdev that is not an Ethernet one.
    pub(super) fn mac(&self) -> io::Result<Option<MacAddr>> {
        // SAFETY: SIOCGIFHWADDR looks at the name alone and fills in this member.
        let address = unsafe { self.get(libc::SIOCGIFHWADDR)?.ifr_ifru.ifru_hwaddr };
        if address.sa_family != libc::ARPHRD_ETHER {
            return Ok(None);
        }
        Ok(MacAddr::from_slice(&address.sa_data.map(unsigned)[..6]))
    }

    pub(super) fn mtu(&self) -> io::Result<u32> {
        // SAFETY: SIOCGIFMTU looks at the name alone and fills in this member.
        Ok(unsafe { self.get(libc::SIOCGIFMTU)?.ifr_ifru.ifru_mtu }.unsigned_abs())
    }

    pub(super) fn set_mtu(&self, mtu: u32) -> io::Result<()> {
        let ifru_mtu = i32::try_from(mtu).map_err(io::Error::other)?;
        let argument = libc::__c_anonymous_ifr_ifru { ifru_mtu };
        // SAFETY: SIOCSIFMTU takes an MTU.
        unsafe { self.call(libc::SIOCSIFMTU, argument) }.map(drop)
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
        let argument = libc::__c_anonymous_ifr_ifru { ifru_flags };
        // SAFETY: SIOCSIFFLAGS takes flags.
        unsafe { self.call(libc::SIOCSIFFLAGS, argument) }.map(drop)
    }

    fn flags(&self) -> io::Result<i32> {
        // SAFETY: SIOCGIFFLAGS looks at the name alone and fills in this member.
        let flags = unsafe { self.get(libc::SIOCGIFFLAGS)?.ifr_ifru.ifru_flags };
        Ok(i32::from(flags.cast_unsigned()))
    }

    /// The IPv6 addresses that the kernel would not make by itself.
    pub(super) fn addresses6(&self) -> Vec<Address6> {
        let all = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
        all.lines()
            .filter_map(Address6::parse)
            .filter(|one| one.ifindex == self.ifindex)
            .collect()
    }

    pub(super) fn add_address6(&self, address: &Address6) -> io::Result<()> {
        let socket = sys::socket(libc::AF_INET6, libc::SOCK_DGRAM)?;
        let request = std::ptr::from_ref(address);
        // SAFETY: on an IPv6 socket SIOCSIFADDR reads an in6_ifreq, which is live.
        sys::check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, request) })?;
        Ok(())
    }

    /// As [`Self::call`], without an argument.
    ///
    /// # Safety
    /// The request must look at nothing but the name.
    unsafe fn get(&self, request: libc::c_ulong) -> io::Result<libc::ifreq> {
        let argument = libc::__c_anonymous_ifr_ifru { ifru_ifindex: 0 };
        // SAFETY: the request does not look at the argument.
        unsafe { self.call(request, argument) }
    }

    /// One ioctl about this netdev.
    ///
    /// # Safety
    /// `argument` must be the union's member that the request takes, and valid for it where it is a pointer.
    pub(super) unsafe fn call(
        &self,
        request: libc::c_ulong,
        argument: libc::__c_anonymous_ifr_ifru,
    ) -> io::Result<libc::ifreq> {
        let mut ifreq = libc::ifreq {
            ifr_name: self.name_field,
            ifr_ifru: argument,
        };
        // SAFETY: requests about netdevs take an ifreq, which is live; the rest was promised.
        sys::check(unsafe { libc::ioctl(self.control.as_raw_fd(), request, &raw mut ifreq) })?;
        Ok(ifreq)
    }
}

/// A byte of the kernel's, which is signed on some architectures.
fn unsigned(byte: libc::c_char) -> u8 {
    byte.to_ne_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_netdev_is_the_same_under_another_name_and_not_another_of_its_name() {
        let mut netdev = Netdev::open("lo").unwrap();
        netdev.name = "old".to_owned();
        netdev.name_field[0] = b'x'.cast_signed();
        assert!(netdev.find_again());
        assert_eq!(netdev.name(), "lo");
        assert!(netdev.is_up().is_ok());
        netdev.ifindex = i32::MAX.unsigned_abs();
        assert!(!netdev.find_again());
    }

    #[test]
    fn only_addresses_that_somebody_gave_are_remembered() {
        let line = |scope, flags| {
            let address = "fd000000000000000000000000000001";
            Address6::parse(&format!("{address} 0a 40 {scope} {flags}     eth0"))
        };
        let given = line("00", "80").unwrap();
        assert_eq!((given.ifindex, given.prefix_len), (10, 64));
        assert_eq!(given.address[..2], [0xfd, 0]);
        assert_eq!(line("20", "80"), None, "link-local");
        assert_eq!(line("00", "00"), None, "from a router advertisement");
        assert_eq!(Address6::parse("nonsense"), None);
    }
}
