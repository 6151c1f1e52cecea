//! RTM_NEWRULE and RTM_DELRULE to events. A rule is kept in the words of `ip rule`: ixmap follows
//! the default ones only, and has to name the others.

use std::fmt::Write;

use netlink_packet_core::{DecodeError, parse_string, parse_u32};
use netlink_packet_route::AddressFamily;

use super::attributes::{address, attributes, net};
use super::message::Message;
use crate::control::mirror::{Event, Rule};

/// struct fib_rule_hdr
pub(super) const RULE_HEADER: usize = 12;

const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_GOTO: u8 = 2;
const FR_ACT_NOP: u8 = 3;
const FR_ACT_BLACKHOLE: u8 = 6;
const FR_ACT_UNREACHABLE: u8 = 7;
const FR_ACT_PROHIBIT: u8 = 8;
const FIB_RULE_INVERT: u8 = 2;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PAD: u16 = 18;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_DSCP: u16 = 25;
const FRA_FLOWLABEL: u16 = 26;
/// Bytes of a value that are put into words: an IPv6 address and its mask.
const LONGEST: usize = 32;
/// No suppression.
const NONE: u32 = u32::MAX;

/// What a rule says, to be put in order.
#[derive(Default)]
struct Words {
    from: Option<String>,
    /// Everything between `from` and the action.
    selectors: String,
    mark: Option<u32>,
    mask: Option<u32>,
    priority: u32,
    protocol: u8,
    table: Option<u32>,
    goto: Option<u32>,
    l3mdev: bool,
    /// What follows the action.
    suppress: String,
}

/// The event of a rule message; `None` for other families (multicast routing has rules too).
pub(super) fn rule(message: &Message<'_>) -> Result<Option<Event>, DecodeError> {
    let header: [u8; RULE_HEADER] = message
        .payload
        .get(..RULE_HEADER)
        .and_then(|header| header.try_into().ok())
        .ok_or_else(|| DecodeError::from("a rule cut short"))?;
    let [
        family,
        dst_len,
        src_len,
        tos,
        table,
        _,
        _,
        action,
        flags,
        ..,
    ] = header;
    let family = AddressFamily::from(family);
    if !matches!(family, AddressFamily::Inet | AddressFamily::Inet6) {
        return Ok(None);
    }
    let mut words = Words::default();
    if tos != 0 {
        word(&mut words.selectors, "tos", format_args!("{tos:#04x}"));
    }
    for attribute in attributes(message.payload, RULE_HEADER) {
        let attribute = attribute?;
        let value = attribute.value();
        match attribute.kind() {
            FRA_SRC => words.from = Some(net(family, address(value)?, src_len)?.to_string()),
            FRA_DST => {
                let to = net(family, address(value)?, dst_len)?;
                word(&mut words.selectors, "to", to);
            }
            kind => words.note(kind, value)?,
        }
    }
    let rule = Rule {
        ipv6: family == AddressFamily::Inet6,
        priority: words.priority,
        protocol: words.protocol,
        text: words.text(action, u32::from(table), flags & FIB_RULE_INVERT != 0),
    };
    Ok(Some(if message.kind == libc::RTM_DELRULE {
        Event::RuleGone(rule)
    } else {
        Event::RuleSet(rule)
    }))
}

impl Words {
    fn note(&mut self, kind: u16, value: &[u8]) -> Result<(), DecodeError> {
        let selectors = &mut self.selectors;
        match kind {
            FRA_PRIORITY => self.priority = parse_u32(value)?,
            FRA_TABLE => self.table = Some(parse_u32(value)?),
            FRA_GOTO => self.goto = Some(parse_u32(value)?),
            FRA_L3MDEV => self.l3mdev = value.first().is_some_and(|on| *on != 0),
            FRA_FWMARK => self.mark = Some(parse_u32(value)?),
            FRA_FWMASK => self.mask = Some(parse_u32(value)?),
            FRA_IIFNAME => word(selectors, "iif", parse_string(value)?),
            FRA_OIFNAME => word(selectors, "oif", parse_string(value)?),
            FRA_SUPPRESS_PREFIXLEN | FRA_SUPPRESS_IFGROUP if parse_u32(value)? == NONE => {}
            FRA_SUPPRESS_PREFIXLEN => {
                word(
                    &mut self.suppress,
                    "suppress_prefixlength",
                    parse_u32(value)?,
                );
            }
            FRA_SUPPRESS_IFGROUP => {
                word(&mut self.suppress, "suppress_ifgroup", parse_u32(value)?);
            }
            FRA_UID_RANGE => word(selectors, "uidrange", range(value, 4)),
            FRA_SPORT_RANGE => word(selectors, "sport", range(value, 2)),
            FRA_DPORT_RANGE => word(selectors, "dport", range(value, 2)),
            FRA_IP_PROTO => word(selectors, "ipproto", number(value)),
            FRA_DSCP => word(selectors, "dscp", number(value)),
            FRA_TUN_ID => word(selectors, "tun_id", hex(value)),
            FRA_FLOWLABEL => word(selectors, "flowlabel", hex(value)),
            FRA_PROTOCOL => self.protocol = value.first().copied().unwrap_or_default(),
            FRA_PAD => {}
            // It may be all that sets the rule apart from a default one.
            kind => word(selectors, &format!("attribute-{kind}"), hex(value)),
        }
        Ok(())
    }

    fn text(mut self, action: u8, table: u32, invert: bool) -> String {
        if self.mark.is_some() || self.mask.is_some_and(|mask| mask != 0) {
            let (mark, mask) = (self.mark.unwrap_or(0), self.mask.unwrap_or(u32::MAX));
            let both = format_args!("{mark:#x}/{mask:#x}");
            word(&mut self.selectors, "fwmark", both);
        }
        let not = if invert { "not " } else { "" };
        let from = self.from.as_deref().unwrap_or("all");
        let does = match action {
            FR_ACT_TO_TBL if self.l3mdev => "l3mdev".to_owned(),
            FR_ACT_TO_TBL => format!("lookup {}", table_name(self.table.unwrap_or(table))),
            FR_ACT_GOTO => format!("goto {}", self.goto.unwrap_or(0)),
            FR_ACT_NOP => "nop".to_owned(),
            FR_ACT_BLACKHOLE => "blackhole".to_owned(),
            FR_ACT_UNREACHABLE => "unreachable".to_owned(),
            FR_ACT_PROHIBIT => "prohibit".to_owned(),
            other => format!("action {other}"),
        };
        format!("{not}from {from}{} {does}{}", self.selectors, self.suppress)
    }
}

fn word(words: &mut String, name: &str, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(words, " {name} {value}");
}

/// As /etc/iproute2/rt_tables names them.
fn table_name(table: u32) -> String {
    match table {
        253 => "default".to_owned(),
        254 => "main".to_owned(),
        255 => "local".to_owned(),
        other => other.to_string(),
    }
}

/// First and last of a range, each of `size` bytes.
fn range(value: &[u8], size: usize) -> String {
    let at = |from: usize| number(value.get(from..from + size).unwrap_or(&[]));
    format!("{}-{}", at(0), at(size))
}

/// A number of 1, 2 or 4 bytes of the machine's order.
fn number(value: &[u8]) -> u32 {
    match *value {
        [one] => u32::from(one),
        [a, b] => u32::from(u16::from_ne_bytes([a, b])),
        [a, b, c, d] => u32::from_ne_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// A number of the network's byte order.
fn hex(value: &[u8]) -> String {
    let digits = value.iter().take(LONGEST).map(|byte| format!("{byte:02x}"));
    format!("0x{}", digits.collect::<String>())
}
