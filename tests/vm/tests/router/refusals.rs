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

#[test]
fn a_second_owner_is_refused_by_vfio_too() -> Result<()> {
    let mut bench = ready(Through::Vfio)?;
    let card = bench.cards[0].clone();
    let said = fails(&mut bench, "a second owner", &beside(&card))?;
    assert!(said.contains(&card) && said.contains("already"), "{said}");
    bench.ping_across(3, 56)?;
    bench.judge()
}

#[test]
fn a_card_whose_eeprom_is_damaged_is_refused_and_given_back() -> Result<()> {
    let mut bench = Bench::boot(Through::Ixmap, 1500)?;
    bench.bind_at_start("ixmap")?;
    let unbind = format!(
        "echo {} >/sys/bus/pci/drivers/ixmap/unbind
        echo {} >/sys/bus/pci/drivers/ixmap/unbind",
        bench.cards[0], bench.cards[1]
    );
    bench.guest.check("unbind", &unbind)?;
    // Of the part number, which nobody needs, but for the checksum.
    let word = write_eeprom(&mut bench, 0x15, 0x1234)?;
    let said = fails(&mut bench, "a damaged EEPROM", "")?;
    let card = &bench.cards[1];
    assert!(said.contains(card), "{said}");
    assert!(said.contains("EEPROM checksum is 0x"), "{said}");

    write_eeprom(&mut bench, 0x15, word)?;
    bench.start()?;
    bench.ping_across(3, 56)?;
    bench.stop()?;
    bench.judge()
}

/// Writes a word of the second card's EEPROM, by EERD and EEWR (datasheet 8.2.3.2); what there was.
fn write_eeprom(bench: &mut Bench, at: u32, word: u32) -> Result<u32> {
    let address = at << 2 | 1;
    let write = format!(
        "card=/sys/bus/pci/devices/{}
        echo 1 >$card/enable
        read -r bar rest <$card/resource
        devmem $((bar + 0x10014)) 32 {address:#x}
        devmem $((bar + 0x10014)) 32
        devmem $((bar + 0x10018)) 32 {:#x}
        echo 0 >$card/enable",
        bench.cards[1],
        word << 16 | address
    );
    let was = bench.guest.check("write the EEPROM", &write)?;
    let was = was.trim().trim_start_matches("0x");
    Ok(u32::from_str_radix(was, 16).unwrap_or_default() >> 16)
}

#[test]
fn the_command_for_hugepages_suffices_for_all_ports_and_workers() -> Result<()> {
    let mut bench = Bench::boot(Through::Ixmap, 1500)?;
    let few = "sed -i 's/^cores = .*/cores = [1, 2]/' /etc/ixmap/ixmap.toml
        echo 3 >/proc/sys/vm/nr_hugepages";
    bench.guest.check("two workers, few huge pages", few)?;
    let said = fails(&mut bench, "too few huge pages", "")?;
    let command = said.split('`').nth(1).unwrap_or_default();
    assert!(command.contains("nr_hugepages"), "{said}");
    bench.guest.check("as it says", command)?;
    bench.start()?;
    let workers = bench.ask("workers")?;
    assert_eq!(workers.as_array().map(Vec::len), Some(2), "{workers}");
    bench.ping_across(3, 56)?;
    bench.judge()
}
