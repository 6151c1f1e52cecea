//! One line each: a route, an update, an address.

use std::net::IpAddr;

use crate::address::{Address, Family};
use crate::error::Fault;
use crate::read::{Change, Route, Update};

/// `prefix id`
pub(crate) fn route<A: Address>(line: &str, largest_id: u32) -> Result<Route<A>, Fault> {
    let [prefix, id] = fields(line).ok_or(Fault::Route)?;
    let (prefix, len) = self::prefix(prefix)?;
    let id = self::id(id, largest_id)?;
    Ok(Route { prefix, len, id })
}

/// `time a prefix id` or `time w prefix`
pub(crate) fn update<A: Address>(line: &str, largest_id: u32) -> Result<Update<A>, Fault> {
    let (time, prefix, id) = match (fields(line), fields(line)) {
        (Some([time, "a", prefix, id]), _) => (time, prefix, Some(id)),
        (_, Some([time, "w", prefix])) | (Some([time, "w", prefix, _]), _) => (time, prefix, None),
        _ => return Err(Fault::Update),
    };
    let seconds = time.parse::<f64>().map_err(|_| Fault::Time)?;
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(Fault::Time);
    }
    let (prefix, len) = self::prefix(prefix)?;
    let change = match id {
        Some(id) => Change::Announce(self::id(id, largest_id)?),
        None => Change::Withdraw,
    };
    Ok(Update {
        seconds,
        prefix,
        len,
        change,
    })
}

pub(crate) fn address<A: Address>(text: &str) -> Result<A, Fault> {
    let ip = text.trim().parse().map_err(|_| Fault::Address)?;
    of_family(ip)
}

/// The family of the prefix that a table's first line starts with.
pub(crate) fn family(line: &str) -> Result<Family, Fault> {
    let prefix = line.split_ascii_whitespace().next().unwrap_or(line);
    let (address, _) = prefix.split_once('/').ok_or(Fault::Prefix)?;
    let ip = address.parse().map_err(|_| Fault::Prefix)?;
    Ok(Family::of(ip))
}

/// The fields of a line when there are just `N`.
fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let mut words = line.split_ascii_whitespace();
    let mut fields = [""; N];
    for field in &mut fields {
        *field = words.next()?;
    }
    words.next().is_none().then_some(fields)
}

fn prefix<A: Address>(text: &str) -> Result<(A, u8), Fault> {
    let (address, len) = text.split_once('/').ok_or(Fault::Prefix)?;
    let ip = address.parse().map_err(|_| Fault::Prefix)?;
    let address: A = of_family(ip)?;
    let len = number(len).ok_or(Fault::Prefix)?;
    let len = u8::try_from(len)
        .ok()
        .filter(|len| *len <= A::BITS)
        .ok_or(Fault::Length {
            family: A::FAMILY,
            bits: A::BITS,
        })?;
    if address.first(len) != address {
        let first = address.first(len).to_ip();
        return Err(Fault::HostBits { first, len });
    }
    Ok((address, len))
}

fn of_family<A: Address>(ip: IpAddr) -> Result<A, Fault> {
    A::from_ip(ip).ok_or(Fault::Family {
        found: Family::of(ip),
        wanted: A::FAMILY,
    })
}

fn id(text: &str, largest: u32) -> Result<u32, Fault> {
    let id = number(text).ok_or(Fault::Id { largest })?;
    u32::try_from(id)
        .ok()
        .filter(|id| *id <= largest)
        .ok_or(Fault::IdRange { largest })
}

/// A decimal number without sign; one beyond 64 bits is as good as the largest.
fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LARGEST: u32 = 1000;

    fn ip<A: Address>(text: &str) -> A {
        A::from_ip(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_route_is_a_prefix_and_an_id() {
        for (line, prefix, len, id) in [
            ("10.0.0.0/8 0", "10.0.0.0", 8, 0),
            (" 0.0.0.0/0\t 1000 ", "0.0.0.0", 0, 1000),
            ("192.0.2.1/32 07", "192.0.2.1", 32, 7),
        ] {
            let prefix = ip::<u32>(prefix);
            assert_eq!(route(line, LARGEST), Ok(Route { prefix, len, id }));
        }
        let (prefix, len, id) = (ip::<u128>("2001:db8::"), 32, 5);
        let expected = Ok(Route { prefix, len, id });
        assert_eq!(route("2001:DB8::/32 5", LARGEST), expected);
        assert_eq!(route("2001:db8:0:0::0/032 5", LARGEST), expected);
    }

    #[test]
    fn a_bad_route_is_refused_for_what_is_wrong_with_it() {
        let length = Fault::Length {
            family: Family::Ipv4,
            bits: 32,
        };
        for (line, fault) in [
            ("10.0.0.0/8", Fault::Route),
            ("10.0.0.0/8 1 2", Fault::Route),
            ("# routes", Fault::Prefix),
            ("10.0.0.0 1", Fault::Prefix),
            ("10.0.0/8 1", Fault::Prefix),
            ("10.0.0.0/ 1", Fault::Prefix),
            ("10.0.0.0/+8 1", Fault::Prefix),
            ("10.0.0.0/8/8 1", Fault::Prefix),
            ("010.0.0.0/8 1", Fault::Prefix),
            ("10.0.0.256/32 1", Fault::Prefix),
            ("10.0.0.0/33 1", length),
            ("10.0.0.0/99999999999999999999 1", length),
            ("10.0.0.0/8 x", Fault::Id { largest: LARGEST }),
            ("10.0.0.0/8 -1", Fault::Id { largest: LARGEST }),
            ("10.0.0.0/8 1001", Fault::IdRange { largest: LARGEST }),
            (
                "10.0.0.0/8 18446744073709551616",
                Fault::IdRange { largest: LARGEST },
            ),
            (
                "10.0.0.1/8 1",
                Fault::HostBits {
                    first: "10.0.0.0".parse().unwrap(),
                    len: 8,
                },
            ),
            (
                "::/0 1",
                Fault::Family {
                    found: Family::Ipv6,
                    wanted: Family::Ipv4,
                },
            ),
        ] {
            assert_eq!(route::<u32>(line, LARGEST), Err(fault), "{line}");
        }
        assert!(route::<u128>("::/128 1", LARGEST).is_ok());
        assert!(route::<u128>("::/129 1", LARGEST).is_err());
        assert!(route::<u128>("fe80::%1/64 1", LARGEST).is_err());
    }

    #[test]
    fn an_update_announces_or_withdraws() {
        let prefix = ip::<u32>("10.0.0.0");
        let update = |line| update(line, LARGEST);
        let change = |seconds, change| {
            Ok(Update {
                seconds,
                prefix,
                len: 8,
                change,
            })
        };
        let announced = change(1470931200.5, Change::Announce(7));
        assert_eq!(update("1470931200.5 a 10.0.0.0/8 7"), announced);
        for line in ["0 w 10.0.0.0/8", "0 w 10.0.0.0/8 7"] {
            assert_eq!(update(line), change(0.0, Change::Withdraw));
        }
        for (line, fault) in [
            ("0 a 10.0.0.0/8", Fault::Update),
            ("0 x 10.0.0.0/8 7", Fault::Update),
            ("10.0.0.0/8 7", Fault::Update),
            ("x a 10.0.0.0/8 7", Fault::Time),
            ("-1 a 10.0.0.0/8 7", Fault::Time),
            ("inf a 10.0.0.0/8 7", Fault::Time),
            ("NaN w 10.0.0.0/8", Fault::Time),
            ("0 a 10.0.0.0/8 1001", Fault::IdRange { largest: LARGEST }),
            ("0 w 10/8", Fault::Prefix),
        ] {
            assert_eq!(update(line), Err(fault), "{line}");
        }
    }

    #[test]
    fn an_address_is_of_the_tables_family() {
        assert_eq!(address(" 192.0.2.1 "), Ok(ip::<u32>("192.0.2.1")));
        assert_eq!(address("2001:db8::1"), Ok(ip::<u128>("2001:db8::1")));
        for text in ["192.0.2", "192.0.2.1/32", "192.0.2.1 1", "x", "fe80::1%1"] {
            assert_eq!(address::<u32>(text), Err(Fault::Address), "{text}");
        }
        let error = address::<u128>("192.0.2.1").unwrap_err().to_string();
        assert!(error.starts_with("IPv4 where IPv6 is wanted"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bits in any::<u128>(), len in 0u8..=128, id in 0..=LARGEST) {
            let prefix = bits.first(len);
            let line = format!("{}/{len} {id}", prefix.to_ip());
            prop_assert_eq!(route(&line, LARGEST), Ok(Route { prefix, len, id }));
            let (prefix, len) = (u32::from_high(bits).first(len / 4), len / 4);
            let line = format!("{}/{len} {id}", prefix.to_ip());
            prop_assert_eq!(route(&line, LARGEST), Ok(Route { prefix, len, id }));
        }

        #[test]
        fn no_line_can_crash_the_reader(line in "\\PC*") {
            let _ = route::<u32>(&line, LARGEST);
            let _ = update::<u128>(&line, LARGEST);
            let _ = family(&line);
        }
    }
}
