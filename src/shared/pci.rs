//! PCI addresses.

use std::fmt;
use std::str::FromStr;

/// Where a PCI function is: `0000:03:00.1`, as `lspci -D` and sysfs name it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    pub domain: u32,
    pub bus: u8,
    /// 0 to 31.
    pub device: u8,
    /// 0 to 7.
    pub function: u8,
}

/// The text is no PCI address.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("\"{0}\" is no PCI address: write it like 0000:03:00.1 or 03:00.1, as `lspci` shows it")]
pub struct NoPciAddress(String);

impl FromStr for PciAddress {
    type Err = NoPciAddress;

    fn from_str(text: &str) -> Result<PciAddress, NoPciAddress> {
        parse(text).ok_or_else(|| NoPciAddress(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<PciAddress> {
    let (rest, function) = text.rsplit_once('.')?;
    let (rest, device) = rest.rsplit_once(':')?;
    let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
    let number = |text: &str, digits: usize| {
        let plain = !text.is_empty() && text.len() <= digits;
        let hex = plain && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| u32::from_str_radix(text, 16).ok())?
    };
    let byte = |text, digits| u8::try_from(number(text, digits)?).ok();
    let address = PciAddress {
        domain: number(domain, 8)?,
        bus: byte(bus, 2)?,
        device: byte(device, 2)?,
        function: byte(function, 1)?,
    };
    (address.device < 32 && address.function < 8).then_some(address)
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PciAddress {
            domain,
            bus,
            device,
            function,
        } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function}")
    }
}

impl fmt::Debug for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_with_and_without_its_domain_and_prints_as_sysfs_names_it() {
        for (text, printed) in [
            ("0000:03:00.1", "0000:03:00.1"),
            ("3:0.1", "0000:03:00.1"),
            ("10000:ff:1f.7", "10000:ff:1f.7"),
            ("A0:0b.0", "0000:a0:0b.0"),
        ] {
            assert_eq!(text.parse::<PciAddress>().unwrap().to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "eth0",
            "03:00",
            "03.1",
            "0000:03:00.8",
            "03:20.0",
            "100:00.0",
            ":00.0",
            "03:00.",
            "+3:00.0",
            "0:0:0:0.0",
            "03:00.1 ",
        ] {
            assert!(text.parse::<PciAddress>().is_err(), "{text}");
        }
    }
}
