//! The control socket's language: newline-delimited JSON over a Unix stream.
//!
//! A request is one line, `{"request":"route","address":"192.0.2.1"}`. Its answer is one line,
//! `{"ok":...}` or `{"error":"why"}`; a long list comes as `{"item":...}` lines and an
//! `{"end":COUNT}`, so that neither side ever holds a million routes. Requests and answers may
//! follow each other on one connection.

mod reply;

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use reply::{
    Action, Counters, FamilyCounts, Group, Interrupt, Leg, Mirror, Neighbour, NeighbourCare,
    NeighbourTable, NextHopCounts, OddRules, Port, PortDrops, PortTraffic, PortWithCounters, Route,
    RouteType, Status, Traffic, Worker, WorkerState, WorkerTraffic,
};

/// The longest request line, newline included.
pub const MAX_REQUEST: usize = 64 * 1024;

/// An address family, as metrics and JSON name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }
}

/// What a client may ask.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Answered with a [`Status`].
    Status,
    /// Answered with a list of [`PortWithCounters`].
    Ports,
    /// Answered with a list of [`Worker`].
    Workers,
    /// Answered with [`Counters`].
    Counters,
    /// Answered with a list of [`PortDrops`].
    Drops,
    /// The longest match of an address; answered with a [`Route`].
    Route { address: IpAddr },
    /// All routes of the FIB, or those of a family, or those within a prefix; a long list of
    /// [`Route`].
    Routes {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        family: Option<Family>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefix: Option<IpNet>,
    },
    /// A long list of [`Neighbour`].
    Neighbours,
    /// Reads the configuration file again; answered with `null`.
    Reload,
    /// Adds a port, `NAME=DRIVER:DEVICE`; answered with `null`.
    PortAdd { port: String },
    /// Removes a port; answered with `null`.
    PortDel { name: String },
    /// Sets the log filter; answered with `null`.
    Log { level: String },
}

/// One line of an answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line<T> {
    /// The whole answer.
    Ok(T),
    /// The daemon refused; its reason.
    Error(String),
    /// One entry of a long list.
    Item(T),
    /// The end of a long list and how many items it had.
    End(u64),
}

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("a request must fit in {MAX_REQUEST} bytes: send a shorter line")]
    TooLong,
    #[error("not a request ({0}): send one JSON object a line, such as {{\"request\":\"status\"}}")]
    Malformed(#[from] serde_json::Error),
}

impl Request {
    /// Reads one line as it came from the wire.
    pub fn parse(line: &[u8]) -> Result<Request, RequestError> {
        if line.len() > MAX_REQUEST {
            return Err(RequestError::TooLong);
        }
        Ok(serde_json::from_slice(line)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn every_request() -> Vec<(Request, &'static str)> {
        vec![
            (Request::Status, r#"{"request":"status"}"#),
            (Request::Ports, r#"{"request":"ports"}"#),
            (Request::Workers, r#"{"request":"workers"}"#),
            (Request::Counters, r#"{"request":"counters"}"#),
            (Request::Drops, r#"{"request":"drops"}"#),
            (
                Request::Route {
                    address: "2001:db8::1".parse().unwrap(),
                },
                r#"{"request":"route","address":"2001:db8::1"}"#,
            ),
            (
                Request::Routes {
                    family: Some(Family::Ipv4),
                    prefix: Some("192.0.2.0/24".parse().unwrap()),
                },
                r#"{"request":"routes","family":"ipv4","prefix":"192.0.2.0/24"}"#,
            ),
            (
                Request::Routes {
                    family: None,
                    prefix: None,
                },
                r#"{"request":"routes"}"#,
            ),
            (Request::Neighbours, r#"{"request":"neighbours"}"#),
            (Request::Reload, r#"{"request":"reload"}"#),
            (
                Request::PortAdd {
                    port: "lan=afxdp:eth0".into(),
                },
                r#"{"request":"port_add","port":"lan=afxdp:eth0"}"#,
            ),
            (
                Request::PortDel { name: "lan".into() },
                r#"{"request":"port_del","name":"lan"}"#,
            ),
            (
                Request::Log {
                    level: "debug".into(),
                },
                r#"{"request":"log","level":"debug"}"#,
            ),
        ]
    }

    #[test]
    fn every_request_has_its_stable_line_and_reads_back() {
        for (request, line) in every_request() {
            assert_eq!(serde_json::to_string(&request).unwrap(), line);
            assert_eq!(Request::parse(line.as_bytes()).unwrap(), request);
        }
    }

    #[test]
    fn a_line_that_is_no_request_is_refused_on_one_line() {
        for line in [
            "",
            "status",
            "[]",
            r#"{"request":"nothing"}"#,
            r#"{"request":"route"}"#,
            r#"{"request":"route","address":"192.0.2.300"}"#,
            r#"{"request":"route","address":"192.0.2.3","extra":1}"#,
            r#"{"request":"status"} {"request":"status"}"#,
        ] {
            let error = Request::parse(line.as_bytes()).unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
        assert!(matches!(
            Request::parse(&vec![b' '; MAX_REQUEST + 1]),
            Err(RequestError::TooLong)
        ));
    }

    #[test]
    fn answer_lines_are_tagged_by_what_they_are() {
        let line = |line: Line<u64>| serde_json::to_string(&line).unwrap();
        assert_eq!(line(Line::Ok(7)), r#"{"ok":7}"#);
        assert_eq!(line(Line::Item(7)), r#"{"item":7}"#);
        assert_eq!(line(Line::End(1)), r#"{"end":1}"#);
        assert_eq!(line(Line::Error("no".into())), r#"{"error":"no"}"#);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_an_error_and_never_a_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..512),
        ) {
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn a_damaged_request_never_panics(
            which in 0usize..13, at in 0usize..80, byte in any::<u8>(),
        ) {
            let (request, line) = every_request().swap_remove(which);
            let mut line = line.as_bytes().to_vec();
            let at = at % line.len();
            let same = line[at] == byte;
            line[at] = byte;
            if let Ok(read) = Request::parse(&line) {
                prop_assert!(!same || read == request);
            }
        }
    }
}
