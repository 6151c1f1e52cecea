//! From reset to link, and what goes wrong on the way.

use super::*;
use crate::shared::mac::MacAddr;

pub(super) const SETTINGS: Settings = Settings {
    queues: 1,
    mtu: 1500,
    promiscuous: false,
};

pub(super) fn start(settings: &Settings) -> (Model, Controller<Model>) {
    let model = Model::new();
    let controller = Controller::start(model.clone(), settings).unwrap();
    controller.listen();
    (model, controller)
}

#[test]
fn a_card_is_set_up_twice_over_without_a_violation() {
    let model = Model::new();
    for _ in 0..2 {
        let mut controller = Controller::start(model.clone(), &SETTINGS).unwrap();
        controller.listen();
        assert_eq!(controller.mac(), MacAddr(MAC));
        controller.receive().unwrap();
        wait_for_link(&model, &controller);
        assert_eq!(controller.link().speed_mbps, Some(10_000));
        let module = controller.module().unwrap().to_string();
        assert_eq!(module, "passive direct-attach cable (MODEL, DAC-1M)");
        assert_eq!(controller.module_warning(), None);
        assert!(controller.stop());
        model.assert_clean();
    }
}

#[test]
fn flows_go_to_all_queues_alike() {
    for queues in [1, 3, 16] {
        let (model, _controller) = start(&Settings { queues, ..SETTINGS });
        let entries = (0..32).flat_map(|n| model.read(Register(0xEB00 + 4 * n)).to_le_bytes());
        let mut flows = vec![0; queues as usize];
        entries.for_each(|entry| flows[usize::from(entry)] += 1);
        let (least, most) = (flows.iter().min(), flows.iter().max());
        assert!(most.unwrap() - least.unwrap() <= 1, "{flows:?}");
        model.assert_clean();
    }
}

#[test]
fn link_changes_are_told_once_each_and_interrupt() {
    let (model, mut controller) = start(&SETTINGS);
    wait_for_link(&model, &controller);
    assert!(controller.events().contains(&Event::LinkChanged));
    assert!(controller.events().is_empty());
    model.raised();
    model.set_link(false);
    assert_eq!(model.raised(), [1], "the vector behind the queues'");
    assert!(!controller.link().up);
    assert_eq!(controller.link().speed_mbps, None);
    assert_eq!(controller.events(), [Event::LinkChanged]);
    model.set_link(true);
    wait_for_link(&model, &controller);
    assert_eq!(model.raised(), [1]);
    assert_eq!(controller.events(), [Event::LinkChanged]);
    model.assert_clean();
}

#[test]
fn memory_errors_and_modules_are_told() {
    let (model, mut controller) = start(&SETTINGS);
    controller.events();
    for (cause, event) in [
        (1 << 28, Event::MemoryError),
        (1 << 26, Event::Module(controller.module().cloned())),
    ] {
        model.raised();
        model.write(Register(0x808), cause); // EICS
        assert_eq!(model.raised(), [1]);
        assert_eq!(controller.events(), [event]);
    }
    model.assert_clean();
}

#[test]
fn what_was_lost_adds_up() {
    let (model, mut controller) = start(&SETTINGS);
    controller.receive().unwrap();
    wait_for_link(&model, &controller);
    for round in 1..=3 {
        // Nobody has started a queue.
        model.deliver(&[0xFF; 60]);
        model.deliver(&[0xFF; 40]);
        controller.sample();
        let lost = |name: &str| controller.losses().find(|(known, _)| *known == name);
        assert_eq!(lost("rx_no_buffer"), Some(("rx_no_buffer", round)));
        assert_eq!(lost("rx_undersize"), Some(("rx_undersize", round)));
    }
}

/// FWSM, and its mode in which firmware runs.
const FIRMWARE: (u32, u32) = (0x1_0148, 2 << 1);
/// EEMNGCTL, and its bits that say that the firmware is done with port 0, and with port 1.
const DONE: (u32, [u32; 2]) = (0x1_0110, [1 << 18, 1 << 19]);
const STATUS: u32 = 0x8;

#[test]
fn a_card_that_does_not_do_its_part_is_told_by_what_it_does_not() {
    let group = [0x03, MAC[1], MAC[2], MAC[3], MAC[4], MAC[5]];
    for (register, set, clear, error) in [
        // The master never stops: the card is reset twice, and goes on.
        (STATUS, 1 << 19, 0, None),
        (0x0, 1 << 26, 0, Some(CardError::Late("reset itself"))),
        (
            0x2F00,
            0,
            1 << 3,
            Some(CardError::Late("initialise its DMA")),
        ),
        (0x1_0010, 0, 1 << 9, Some(EepromError::NotReady.into())),
        (0xA200, 0x01, 0, Some(CardError::Mac(MacAddr(group)))),
        // No firmware runs: nobody has to get ready.
        (DONE.0, 0, DONE.1[0], None),
        // It does, and is.
        (FIRMWARE.0, FIRMWARE.1, 0, None),
    ] {
        let model = Model::new();
        model.lie(register, set, clear);
        let started = Controller::start(model.clone(), &SETTINGS);
        assert_eq!(started.err(), error, "register {register:#x}");
        model.assert_clean();
    }
}

#[test]
fn firmware_that_runs_is_waited_for_at_the_ports_own_bit() {
    for (port, done, error) in [
        (0, 0, None),
        (0, 1, Some(CardError::Firmware)),
        (1, 1, None),
        (1, 0, Some(CardError::Firmware)),
    ] {
        let model = Model::new();
        model.lie(FIRMWARE.0, FIRMWARE.1, 0);
        model.lie(STATUS, port << 2, 0);
        model.lie(DONE.0, DONE.1[done], DONE.1[1 - done]);
        let started = Controller::start(model.clone(), &SETTINGS);
        assert_eq!(started.err(), error, "port {port}, done is {done}");
        model.assert_clean();
    }
}

#[test]
fn a_wrong_checksum_is_told_with_the_right_one() {
    let model = Model::new();
    // EEWR: another word 0x15.
    model.write(Register(0x1_0018), 0x1234 << 16 | 0x15 << 2 | 1);
    let error = Controller::start(model.clone(), &SETTINGS).err().unwrap();
    assert!(error.to_string().contains("checksum"), "{error}");
    model.assert_clean();
}

/// The pins of the module in the cage (I2CCTL): one of thousands of accesses is like another.
const MODULE_PINS: u32 = 0x28;

#[test]
fn a_card_torn_out_at_any_access_ends_the_start_soon() {
    let small = Shape {
        frames: 128,
        ..SPREAD
    };
    let whole = Bench::try_new(small, Model::new()).unwrap();
    let accesses = whole.model.accesses();
    whole.close_clean();
    let most = accesses.len();
    assert!(most > 300, "{most}");
    let of_interest = |n: &usize| accesses[n - 1] != MODULE_PINS || n.is_multiple_of(32);
    for_each_at_once((1..=most).filter(of_interest).collect(), |access| {
        let model = Model::new();
        model.remove_at(access);
        let error = Bench::try_new(small, model.clone()).err();
        assert!(error.is_some_and(is_gone), "{error:?} at {access}");
        // A wait that did not notice would look a thousand times and more.
        let more = model.accesses().len() - access;
        assert!(more < most, "{more} after {access}");
        model.assert_clean();
    });
}

/// By whatever step noticed it.
fn is_gone(error: CardError) -> bool {
    matches!(
        error,
        CardError::Gone | CardError::Eeprom(EepromError::Gone) | CardError::Queue(QueueError::Gone)
    )
}

#[test]
fn a_card_torn_out_later_is_told_once_and_has_no_link() {
    let (model, mut controller) = start(&SETTINGS);
    wait_for_link(&model, &controller);
    controller.events();
    model.remove();
    assert_eq!(controller.events(), [Event::Gone]);
    assert!(controller.events().is_empty());
    assert!(!controller.link().up);
    let before: Vec<_> = controller.losses().collect();
    controller.sample();
    assert_eq!(controller.losses().collect::<Vec<_>>(), before);
    assert!(controller.stop());
}

#[test]
fn every_filter_is_set_before_frames_are_let_in() {
    let (model, mut controller) = start(&SETTINGS);
    controller.receive().unwrap();
    let accesses = model.accesses();
    let let_in = accesses.iter().rposition(|at| *at == 0x3000).unwrap(); // RXCTRL
    let written = |register| accesses[..let_in].contains(&register);
    // RAL and RAH of the other 127, MTA, PFUTA, VFTA, MPSAR.
    for (first, last) in [
        (0xA208, 0xA5FC),
        (0x5200, 0x53FC),
        (0xF400, 0xF5FC),
        (0xA000, 0xA1FC),
        (0xA600, 0xA9FC),
    ] {
        assert!((first..=last).step_by(4).all(written), "{first:x}");
    }
    model.assert_clean();
}
