//! The harness by itself, on a NIC that QEMU emulates: what the model's tests rely on.

use ixmap_vm::{Error, Guest, Result, router};

/// A guest with QEMU's own e1000e; QEMU answers pings at 10.0.2.2 itself.
fn guest_with_e1000e() -> Result<Guest> {
    let network = [
        "-netdev",
        "user,id=n",
        "-device",
        "e1000e,netdev=n,romfile=",
    ];
    Guest::builder().qemu(&network).boot()
}

#[test]
fn a_guest_probes_a_card_pings_and_reboots_warm() -> Result<()> {
    let mut guest = guest_with_e1000e()?;
    let boots = ["first boot", "second boot"];
    for boot in boots {
        guest.check(
            boot,
            "modprobe e1000e; ip link set eth0 up; ip address add 10.0.2.15/24 dev eth0",
        )?;
        guest.wait_until("ping", "ping -c 1 -W 1 10.0.2.2")?;
        println!("{boot}: {:?} to the first answer", guest.age());
        assert!(guest.dmesg()?.contains("e1000e"));
        if boot == boots[0] {
            guest.reboot_warm()?;
            assert!(!guest.dmesg()?.contains("e1000e"), "the log starts anew");
        }
    }
    assert!(guest.complaints().is_empty(), "{:?}", guest.complaints());
    Ok(())
}

#[test]
fn a_step_tells_its_exit_code_and_its_output_whatever_the_kernel_says_meanwhile() -> Result<()> {
    let mut guest = Guest::builder().boot()?;
    let noise = "for n in $(seq 100); do echo noise >/dev/kmsg; echo line $n; done; exit 7";
    let output = guest.run("noise", noise)?;
    assert_eq!(output.status, 7);
    let lines: Vec<String> = (1..=100).map(|n| format!("line {n}")).collect();
    assert_eq!(output.stdout.lines().collect::<Vec<_>>(), lines);

    let output = guest.run("stops at what fails", "echo a; false; echo b")?;
    assert_eq!((output.status, output.stdout.as_str()), (1, "a\n"));
    let large = guest.check("large", "head -c 3000000 /dev/zero | tr '\\0' x")?;
    assert_eq!(large.len(), 3_000_000);
    guest.check(
        "every tool runs",
        "ethtool --version; iperf3 -v; ip -V; tcpdump --version",
    )?;
    Ok(())
}

#[test]
fn a_router_finds_its_programs_its_module_and_the_kernels_own() -> Result<()> {
    let mut guest = router(Guest::builder())?.boot()?;
    guest.check("programs", "ixmapd --version; ixmapctl --version")?;
    for module in ["ixmap", "8021q", "tun", "vfio-pci", "vfio_iommu_type1"] {
        guest.check(module, &format!("modprobe {module}"))?;
    }
    guest.check(
        "ixmap is there",
        "[ -d /sys/bus/pci/drivers/ixmap ]; rmmod ixmap",
    )?;
    Ok(())
}

#[test]
fn a_kernel_that_warns_is_noticed_and_one_that_panics_ends_the_wait() -> Result<()> {
    let mut guest = Guest::builder().boot()?;
    guest.check("warn", "echo '<4>WARNING: a test' >/dev/kmsg")?;
    assert_eq!(guest.complaints().len(), 1);
    let panic = guest.run("panic", "echo c >/proc/sysrq-trigger");
    assert!(matches!(panic, Err(Error::Panic(_))), "{panic:?}");
    Ok(())
}

#[test]
fn a_device_that_writes_to_memory_that_is_not_its_own_is_noticed() -> Result<()> {
    let mut guest = Guest::builder().iommu().qemu(&["-device", "edu"]).boot()?;
    assert!(guest.complaints().is_empty(), "{:?}", guest.complaints());
    // QEMU's device for lessons copies 8 bytes from its own memory to an address of ours, which nobody
    // has mapped for it (docs/specs/edu.rst).
    let write = r#"
        for card in /sys/bus/pci/devices/*; do
            [ "$(cat $card/vendor)" = 0x1234 ] && edu=$card
        done
        echo 1 >$edu/enable
        printf '\006' | dd of=$edu/config bs=1 seek=4 conv=notrunc 2>/dev/null
        read -r bar rest <$edu/resource
        devmem $((bar + 0x80)) 64 0x40000
        devmem $((bar + 0x88)) 64 0x100000
        devmem $((bar + 0x90)) 64 8
        devmem $((bar + 0x98)) 64 3"#;
    guest.check("write", write)?;
    guest.wait_until("the fault", "dmesg | grep 'fault addr 0x100000'")?;
    let complaints = guest.complaints();
    let told = complaints.iter().any(|line| line.contains("fault addr"));
    assert!(told, "{complaints:?}");
    Ok(())
}

#[test]
fn a_machine_that_cannot_be_is_told_in_qemus_words() {
    let error = Guest::builder().qemu(&["-device", "no-such-card"]).boot();
    let text = error.map(drop).unwrap_err().to_string();
    assert!(text.contains("no-such-card"), "{text}");
}
