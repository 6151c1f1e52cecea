//! The router's own addresses: the kernel behind the TAPs answers, as if the NIC were its own.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use ixmap_lab::{Error, Family, Ports, Result};

use crate::suite::lab;

#[test]
fn the_router_answers_ping_on_all_its_addresses() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        for address in [lab.a.gateway(family), lab.b.gateway(family)] {
            let ping = lab.a.ping(address, 5)?;
            assert_eq!(ping.received, 5, "{}", ping.output);
        }
    }
    Ok(())
}

#[test]
fn the_router_answers_ping_on_its_link_local_address() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for host in [&lab.a, &lab.b] {
        let link_local = IpAddr::V6(host.gateway_link_local());
        let ping = host.ping_with(link_local, 5, &["-I", "eth0"])?;
        assert_eq!(ping.received, 5, "{}", ping.output);
    }
    Ok(())
}

#[test]
fn the_router_answers_a_packet_whose_ttl_ends_at_it() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        let ping = lab.a.ping_with(lab.b.gateway(family), 3, &["-t", "1"])?;
        assert_eq!(ping.received, 3, "{}", ping.output);
    }
    Ok(())
}

#[test]
fn the_router_pings_its_hosts() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for family in Family::BOTH {
        for host in [&lab.a, &lab.b] {
            let address = host.address(family).to_string();
            let words = ["ping", "-n", "-i", "0.1", "-W", "2", "-c", "5", &address];
            let output = lab.router.run(&words)?;
            assert!(output.contains(" 5 received"), "{output}");
        }
    }
    Ok(())
}

#[test]
fn the_router_talks_tcp_on_all_its_addresses() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let listener = lab.router.enter(|| {
        TcpListener::bind("[::]:7777").map_err(Error::io("listen in the router's namespace"))
    })?;
    let addresses = [
        lab.a.gateway(Family::Ipv4),
        lab.b.gateway(Family::Ipv4),
        lab.a.gateway(Family::Ipv6),
        lab.b.gateway(Family::Ipv6),
    ];
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            for _ in addresses {
                let (mut stream, _) = listener.accept().expect("accept");
                stream.write_all(b"hello from the router").expect("write");
            }
        });
        for address in addresses {
            let said = lab
                .a
                .enter(|| greeting(address).map_err(Error::io(format!("{address}"))))?;
            assert_eq!(said, "hello from the router", "{address}");
        }
        serving.join().expect("the listener");
        Ok(())
    })
}

fn greeting(router: IpAddr) -> std::io::Result<String> {
    let address = SocketAddr::new(router, 7777);
    let mut stream = TcpStream::connect_timeout(&address, ixmap_lab::PATIENCE)?;
    stream.set_read_timeout(Some(ixmap_lab::PATIENCE))?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    Ok(said)
}

#[test]
fn arp_answers_with_the_ports_mac() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for host in [&lab.a, &lab.b] {
        let gateway = host.gateway(Family::Ipv4).to_string();
        let output = host.run(&["arping", "-c", "3", "-I", "eth0", &gateway])?;
        assert!(output.contains(&host.gateway_mac_text()), "{output}");
    }
    Ok(())
}

#[test]
fn neighbour_discovery_answers_with_the_ports_mac() -> Result<()> {
    let lab = lab(Ports::Two)?;
    for host in [&lab.a, &lab.b] {
        let gateway = host.gateway(Family::Ipv6).to_string();
        let output = host.run(&["ndisc6", "-q", "-w", "5000", &gateway, "eth0"])?;
        let mac = output.trim().to_lowercase();
        assert_eq!(mac, host.gateway_mac_text());
    }
    Ok(())
}

/// Large enough for frames of many segments, with a length that fills none of them evenly.
const BULK: usize = 4_000_001;

#[test]
fn bulk_tcp_to_and_from_the_router_arrives_whole() -> Result<()> {
    let lab = lab(Ports::Two)?;
    let listener = lab.router.enter(|| {
        TcpListener::bind("[::]:7778").map_err(Error::io("listen in the router's namespace"))
    })?;
    let bulk: Vec<u8> = (0u8..=250).cycle().take(BULK).collect();
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            for _ in Family::BOTH {
                let (mut stream, _) = listener.accept().expect("accept");
                let mut heard = Vec::new();
                stream.read_to_end(&mut heard).expect("read");
                stream.write_all(&heard).expect("write");
            }
        });
        for family in Family::BOTH {
            let router = lab.a.gateway(family);
            let echo = lab
                .a
                .enter(|| echo(router, &bulk).map_err(Error::io(format!("{router}"))))?;
            assert!(echo == bulk, "{router}: {} bytes came back", echo.len());
        }
        serving.join().expect("the listener");
        Ok(())
    })
}

fn echo(router: IpAddr, bulk: &[u8]) -> std::io::Result<Vec<u8>> {
    let address = SocketAddr::new(router, 7778);
    let mut stream = TcpStream::connect_timeout(&address, ixmap_lab::PATIENCE)?;
    stream.set_read_timeout(Some(ixmap_lab::PATIENCE))?;
    stream.write_all(bulk)?;
    stream.shutdown(Shutdown::Write)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(heard)
}
