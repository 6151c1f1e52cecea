//! Single packets from host A to host B, by two sockets in one thread: the clock stops when the second
//! has what the first sent, and nobody has to be woken but the router.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use ixmap_lab::{Error, Family, Lab, Result};

/// A packet that has not come by then is lost.
const LOST: Duration = Duration::from_millis(500);

pub(crate) struct Crossing {
    near: UdpSocket,
    far: UdpSocket,
    to: SocketAddr,
}

impl Crossing {
    pub(crate) fn open(lab: &Lab) -> Result<Crossing> {
        let bound = |host: &ixmap_lab::Host| {
            let address = SocketAddr::new(host.address(Family::Ipv4), 0);
            host.enter(|| UdpSocket::bind(address).map_err(Error::io("open a socket")))
        };
        let (near, far) = (bound(&lab.a)?, bound(&lab.b)?);
        let system = |result: std::io::Result<()>| result.map_err(Error::io("set up a socket"));
        system(far.set_nonblocking(true))?;
        let to = far.local_addr().map_err(Error::io("find an address"))?;
        Ok(Crossing { near, far, to })
    }

    /// The times of those that arrived, of so many with a pause before each.
    pub(crate) fn times(&self, packets: usize, pause: Duration) -> Result<Vec<Duration>> {
        let mut times = Vec::with_capacity(packets);
        for number in 0..packets {
            thread::sleep(pause);
            times.extend(self.time(number)?);
        }
        Ok(times)
    }

    fn time(&self, number: usize) -> Result<Option<Duration>> {
        let (packet, mut buffer) = (number.to_ne_bytes(), [0; 64]);
        let start = Instant::now();
        let sent = self.near.send_to(&packet, self.to);
        sent.map_err(Error::io("send a packet"))?;
        while start.elapsed() < LOST {
            match self.far.recv(&mut buffer) {
                Ok(length) if buffer[..length] == packet => return Ok(Some(start.elapsed())),
                // One that was late and counts as lost.
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(Error::io("receive a packet")(error)),
            }
        }
        Ok(None)
    }
}
