//! From reset to link, and what goes wrong on the way.

use std::cell::Cell;
use std::rc::Rc;

use super::*;
use crate::dataplane::port::ixgbe::controller::Controller;
use crate::dataplane::port::ixgbe::setup::Settings;
use crate::dataplane::port::ixgbe::testing::MAC;
use crate::shared::mac::MacAddr;

pub(super) const SETTINGS: Settings = Settings {
    queues: 1,
    mtu: 1500,
    promiscuous: false,
};

/// Registers that can be made to lie.
#[derive(Clone)]
pub(super) struct Liar {
    pub(super) model: Model,
    /// Accesses before the card is torn out.
    pub(super) left: Rc<Cell<u32>>,
    /// A register, and bits that always read as set, as clear.
    pub(super) lie: Rc<Cell<(u32, u32, u32)>>,
    /// Reads before it tells the truth.
    pub(super) lies: Rc<Cell<u32>>,
}

impl Liar {
    pub(super) fn new() -> Liar {
        Liar {
            model: Model::new(),
            left: Rc::new(Cell::new(u32::MAX)),
            lie: Rc::new(Cell::new((!0, 0, 0))),
            lies: Rc::new(Cell::new(u32::MAX)),
        }
    }

    pub(super) fn about(register: u32, set: u32, clear: u32) -> Liar {
        let liar = Liar::new();
        liar.lie.set((register, set, clear));
        liar
    }

    fn count(&self) {
        let left = self.left.get().saturating_sub(1);
        self.left.set(left);
        if left == 0 {
            self.model.remove();
        }
    }

    pub(super) fn start(&self) -> Result<Controller<Liar>, CardError> {
        Controller::start(self.clone(), &SETTINGS)
    }
}

impl Registers for Liar {
    fn read(&self, register: Register) -> u32 {
        self.count();
        let value = self.model.read(register);
        match self.lie.get() {
            (liar, set, clear) if liar == register.0 && self.lies.get() > 0 => {
                self.lies.set(self.lies.get() - 1);
                value & !clear | set
            }
            _ => value,
        }
    }

    fn write(&self, register: Register, value: u32) {
        self.count();
        self.model.write(register, value);
    }
}

pub(super) fn start(settings: &Settings) -> (Model, Controller<Model>) {
    let model = Model::new();
    let controller = Controller::start(model.clone(), settings).unwrap();
    (model, controller)
}

fn wait_for_link(model: &Model, controller: &Controller<Model>) {
    while !controller.link().up {
        model.pass(std::time::Duration::from_millis(1));
    }
}

#[test]
fn a_card_is_set_up_twice_over_without_a_violation() {
    let model = Model::new();
    for _ in 0..2 {
        let mut controller = Controller::start(model.clone(), &SETTINGS).unwrap();
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
fn heat_memory_errors_and_modules_are_told() {
    let (model, mut controller) = start(&SETTINGS);
    controller.events();
    for (cause, event) in [
        (1 << 24, Event::TooHot),
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

#[test]
fn a_card_that_does_not_do_its_part_is_told_by_what_it_does_not() {
    let firmware = 0x1_0148;
    for (liar, error) in [
        // The master never stops: the card is reset twice, and goes on.
        (Liar::about(0x8, 1 << 19, 0), None),
        (
            Liar::about(0x0, 1 << 26, 0),
            Some(CardError::Late("reset itself")),
        ),
        (
            Liar::about(0x2F00, 0, 1 << 3),
            Some(CardError::Late("initialise its DMA")),
        ),
        (
            Liar::about(0x1_0010, 0, 1 << 9),
            Some(CardError::Eeprom(EepromError::NotReady)),
        ),
        (
            Liar::about(0xA200, 0x01, 0),
            Some(CardError::Mac(MacAddr([
                0x03, MAC[1], MAC[2], MAC[3], MAC[4], MAC[5],
            ]))),
        ),
        // No firmware runs: nobody has to get ready.
        (Liar::about(0x1_0110, 0, 1 << 18), None),
        // It does, and is.
        (Liar::about(firmware, 2 << 1, 0), None),
    ] {
        assert_eq!(liar.start().err(), error);
        liar.model.assert_clean();
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

#[test]
fn a_card_torn_out_at_any_time_ends_the_start() {
    let whole = Liar::new();
    whole.start().unwrap();
    let accesses = u32::MAX - whole.left.get();
    // Every access near the steps' ends would take minutes: those of the EEPROM, and of the module, are alike.
    for left in (1..=accesses).filter(|n| n % 41 == 0 || *n < 40 || accesses - n < 60) {
        let liar = Liar::new();
        liar.left.set(left);
        let ended = liar.start();
        assert!(ended.is_err(), "after {left} accesses");
    }
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
