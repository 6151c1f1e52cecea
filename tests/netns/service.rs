//! An address that B and C both serve: who gets its packets shows which way they went.

use ixmap_lab::{Family, Host, Lab, Result, wait_until};

use crate::packet::Datagram;

pub(crate) fn service(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "10.99.0.1",
        Family::Ipv6 => "fd99::1",
    }
}

/// Gives B and C the service address.
pub(crate) fn serve(lab: &Lab, family: Family) -> Result<()> {
    let (service, length) = (service(family), family.host_prefix());
    for host in [&lab.b, &lab.c] {
        host.ip(&format!("addr add {service}/{length} dev lo"))?;
    }
    Ok(())
}

/// Waits until what A sends to the service arrives at `host`.
pub(crate) fn wait_arrival(lab: &Lab, host: &Host, family: Family) -> Result<()> {
    let (near, far) = (lab.a.tap()?, host.tap()?);
    let target = service(family).parse().unwrap();
    let datagram = Datagram::new(&lab.a, target, "to the service").frame();
    wait_until("traffic arrives at the next hop", || {
        near.send(&datagram)?;
        Ok(!far.collect("to the service")?.is_empty())
    })
}
