//! What cannot work: ixmapd says in one line what to do, ends with 1, and leaves everything as it was.

use crate::bench::{Bench, Through};
use crate::ready;
use ixmap_vm::Result;

/// Runs a daemon that has to fail, and returns its line. Nothing is left of it.
pub(crate) fn fails(bench: &mut Bench, step: &str, arguments: &str) -> Result<String> {
    let before = bench.traces()?;
    let output = bench.guest.run(step, &format!("ixmapd {arguments} 2>&1"))?;
    assert_eq!(output.status, 1, "{}", output.stdout);
    assert_eq!(output.stdout.lines().count(), 1, "{}", output.stdout);
    assert_eq!(bench.traces()?, before, "{step}");
    Ok(output.stdout)
}

/// The arguments of a daemon with one card that can run besides another.
fn beside(card: &str) -> String {
    format!("--port x=ixgbe:{card} --socket /tmp/second.sock --metrics off --workers 2")
}

#[test]
fn what_cannot_work_is_refused_in_one_line() -> Result<()> {
    let mut bench = ready(Through::Ixmap)?;
    let card = bench.cards[0].clone();
    let said = fails(&mut bench, "a second owner", &beside(&card))?;
    assert!(said.contains(&card) && said.contains("already"), "{said}");
    let said = fails(&mut bench, "no such card", &beside("0000:7f:00.0"))?;
    assert!(said.contains("lspci"), "{said}");
    bench.ping_across(3, 56)?;
    bench.stop()?;

    bench
        .guest
        .check("no huge pages", "echo 0 >/proc/sys/vm/nr_hugepages")?;
    let said = fails(&mut bench, "no huge pages", &beside(&card))?;
    assert!(
        said.contains("hugepages-2048kB/nr_hugepages") || said.contains("vm.nr_hugepages"),
        "{said}"
    );
    bench
        .guest
        .check("huge pages again", "echo 64 >/proc/sys/vm/nr_hugepages")?;

    let unbind = format!("echo {card} >/sys/bus/pci/drivers/ixmap/unbind");
    bench.guest.check("unbind", &unbind)?;
    let said = fails(&mut bench, "bound to nothing", &beside(&card))?;
    assert!(said.contains(&format!("ixmapctl bind {card}")), "{said}");
    let bind = format!("modprobe ixgbe; ixmapctl bind {card} ixgbe");
    bench.guest.check("bound to ixgbe", &bind)?;
    let said = fails(&mut bench, "bound to ixgbe", &beside(&card))?;
    assert!(said.contains(&format!("ixmapctl bind {card}")), "{said}");
    bench.judge()
}
