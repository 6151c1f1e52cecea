//! Why a netdev could not become a port: one line that says what to do.

use std::io;

use super::frame::{Layout, max_mtu};

/// What went wrong in [`super::Device::open`] or [`super::Device::attach_queue`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0:?} is no netdev name: 1 to 15 bytes, without '/' or white space")]
    BadName(String),
    #[error("no netdev {0}: `ip link` shows what there is")]
    NoDevice(String),
    #[error("{0} is not an Ethernet device: ixmap routes between Ethernet ports only")]
    NotEthernet(String),
    #[error("{device}: to {what} needs CAP_NET_ADMIN, CAP_NET_RAW and CAP_BPF: run as root")]
    Permission { device: String, what: &'static str },
    #[error("{0} already has an XDP program: another ixmapd? (`ip link show {0}`)")]
    Busy(String),
    #[error(
        "{device}: mtu {mtu} is too large, at most {max} fits the frames that were laid out at the \
         start: `ip link set {device} mtu {max}`, or put the port into the configuration and restart"
    )]
    MtuTooLarge { device: String, mtu: u32, max: u32 },
    #[error("{device} cannot have {wanted} queues, at most {max}: `ethtool -l {device}`")]
    TooManyQueues {
        device: String,
        wanted: u32,
        max: u32,
    },
    #[error("{device} has no queue {queue}: it has {queues}")]
    NoSuchQueue {
        device: String,
        queue: u32,
        queues: u32,
    },
    #[error(
        "{0}: no more memory may be locked for its frames: LimitMEMLOCK=infinity (`ulimit -l`) or CAP_IPC_LOCK"
    )]
    LockedMemory(String),
    #[error("{0} has a queue that already has an AF_XDP socket: another program's?")]
    QueueBusy(String),
    #[error(
        "{device}: kernel or driver carry no packets in several buffers (Linux 6.6 does, for some \
         drivers): lower the mtu of every port to {max} or less"
    )]
    NoMultiBuffer { device: String, max: u32 },
    #[error("the kernel refused the XDP program: {source}; {log}")]
    Verifier { log: String, source: io::Error },
    #[error("{device}: cannot {what}: {source}")]
    System {
        device: String,
        what: &'static str,
        source: io::Error,
    },
}

impl OpenError {
    /// The error of a system call that was to do `what` with `device`.
    pub(super) fn system(device: &str, what: &'static str, source: io::Error) -> OpenError {
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => OpenError::Permission {
                device: device.to_owned(),
                what,
            },
            Some(libc::ENODEV) => OpenError::NoDevice(device.to_owned()),
            _ => OpenError::System {
                device: device.to_owned(),
                what,
                source,
            },
        }
    }

    /// The error of making an AF_XDP socket for `device`.
    pub(super) fn bind(device: &str, layout: Layout, source: io::Error) -> OpenError {
        match source.raw_os_error() {
            Some(libc::EINVAL | libc::EOPNOTSUPP) if layout.is_multi_buffer() => {
                let (device, max) = (device.to_owned(), max_mtu(layout.chunk_size));
                OpenError::NoMultiBuffer { device, max }
            }
            Some(libc::ENOBUFS) => OpenError::LockedMemory(device.to_owned()),
            Some(libc::EBUSY) => OpenError::QueueBusy(device.to_owned()),
            _ => OpenError::system(device, "bind an AF_XDP socket", source),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_number_becomes_a_line_that_says_what_to_do() {
        let line = |errno| {
            OpenError::system("eth7", "attach", io::Error::from_raw_os_error(errno)).to_string()
        };
        assert!(line(libc::EPERM).contains("run as root"));
        assert!(line(libc::ENODEV).contains("`ip link` shows"));
        assert!(line(libc::EINVAL).starts_with("eth7: cannot attach: "));
    }
}
