//! From the module to the link: what is in the cage, what the EEPROM has for it, and who is in the way.

use super::controller::{SETTINGS, start};
use super::*;
use crate::dataplane::port::ixgbe::link::start_link;
use crate::dataplane::port::ixgbe::module::{Kind, identify};
use crate::dataplane::port::ixgbe::semaphore::{Held, Resource};

const I2CCTL: u32 = 0x28;
const DATA_IN: u32 = 1 << 2;
const CLOCK_IN: u32 = 1;
const ESDP: u32 = 0x20;
const MODULE_PRESENT: u32 = 1 << 2;
const CORECTL: Register = Register(0x1_4F00);
const SWSM: Register = Register(0x1_0140);
const SW_FW_SYNC: Register = Register(0x1_0160);

/// A model with a register that lies.
fn liar(register: u32, set: u32, clear: u32) -> Model {
    let model = Model::new();
    model.lie(register, set, clear);
    model
}

/// As another driver, or firmware, would have it.
fn hold(model: &Model, bits: u32) {
    assert_eq!(model.read(SWSM), 0);
    model.write(SWSM, 3);
    model.write(SW_FW_SYNC, bits);
    model.write(SWSM, 0);
}

fn set_word(model: &Model, at: u32, word: u32) {
    model.write(Register(0x1_0018), word << 16 | at << 2 | 1); // EEWR
}

/// Nobody's, both the gate and what is behind it.
fn assert_free(model: &Model) {
    assert_eq!(model.read(SW_FW_SYNC), 0);
    assert_eq!(model.read(SWSM), 0);
    model.write(SWSM, 0);
    model.assert_clean();
}

#[test]
fn the_model_s_cable_is_identified_and_its_settings_are_written() {
    let model = Model::new();
    assert_eq!(model.read(CORECTL), 0);
    let cage = start_link(&model).unwrap();
    let module = cage.module.as_ref().unwrap();
    assert_eq!(module.kind, Kind::DirectAttachPassive);
    assert_eq!((&*module.vendor, &*module.part), ("MODEL", "DAC-1M"));
    assert_eq!(cage.warning(), None);
    assert_eq!(model.read(CORECTL), 1);
    assert_free(&model);
}

#[test]
fn an_empty_cage_and_a_silent_module_differ_by_the_pin() {
    let silent = liar(I2CCTL, DATA_IN, 0);
    let module = identify(&silent).unwrap().unwrap();
    assert_eq!(module.kind, Kind::Silent);
    assert_free(&silent);
    let empty = liar(I2CCTL, DATA_IN, 0);
    empty.write(Register(ESDP), 1 << 10); // The pin is an output, and low.
    assert_eq!(identify(&empty).unwrap(), None);
    let warning = start_link(&empty).unwrap().warning().unwrap();
    assert_eq!(warning, "there is no SFP+ module in the cage");
    assert_eq!(empty.read(Register(ESDP)) & MODULE_PRESENT, 0);
    assert_free(&empty);
}

#[test]
fn a_module_that_misses_its_address_or_garbles_a_byte_is_asked_again() {
    // As many reads of the bus find the line high, as if nobody acknowledged, or low: bytes of zeros.
    for (lies, high, low) in [(45, DATA_IN, 0), (300, 0, DATA_IN)] {
        let liar = Model::new();
        liar.lie_for(lies, I2CCTL, high, low);
        let module = identify(&liar).unwrap().unwrap();
        assert_eq!(module.kind, Kind::DirectAttachPassive);
        assert_eq!((&*module.vendor, &*module.part), ("MODEL", "DAC-1M"));
        assert!(!liar.lies_about(I2CCTL));
        assert_free(&liar);
    }
}

#[test]
fn a_clock_or_data_line_that_is_held_down_ends() {
    for (line, kind) in [(CLOCK_IN, Kind::Silent), (DATA_IN, Kind::Unknown)] {
        let liar = liar(I2CCTL, 0, line);
        assert_eq!(identify(&liar).unwrap().unwrap().kind, kind);
        assert_free(&liar);
    }
}

#[test]
fn a_module_that_wakes_up_late_is_set_up_for() {
    let liar = liar(I2CCTL, DATA_IN, 0);
    let mut controller = Controller::start(liar.clone(), &SETTINGS).unwrap();
    controller.listen();
    assert!(controller.module_warning().is_some());
    controller.sample();
    let told = controller.events();
    assert!(!told.iter().any(|event| matches!(event, Event::Module(_))));
    liar.be_honest();
    controller.sample();
    let module = controller.module().cloned();
    assert_eq!(
        module.as_ref().map(|module| module.kind),
        Some(Kind::DirectAttachPassive)
    );
    assert_eq!(liar.read(CORECTL), 1);
    assert_eq!(controller.module_warning(), None);
    assert!(controller.events().contains(&Event::Module(module)));
    assert_free(&liar);
}

#[test]
fn a_plug_is_told_with_the_module_and_a_pull_without() {
    let liar = Model::new();
    let mut controller = Controller::start(liar.clone(), &SETTINGS).unwrap();
    controller.listen();
    liar.lie(I2CCTL, DATA_IN, 0);
    let plug = |pin| {
        liar.write(Register(ESDP), pin);
        liar.write(Register(0x808), 1 << 26); // EICS: SDP2
    };
    plug(1 << 10);
    assert!(controller.events().contains(&Event::Module(None)));
    assert_eq!(controller.module(), None);
    liar.be_honest();
    plug(0);
    let told = controller.events();
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    let line = "in the cage is now a passive direct-attach cable (MODEL, DAC-1M)";
    assert!(told.iter().any(|told| told == line), "{told:?}");
    assert_free(&liar);
}

#[test]
fn a_module_that_the_eeprom_does_not_list_is_warned_of_and_started_all_the_same() {
    // No list, a list without its type, a type without settings.
    for words in [
        &[(0x2B, 0xFFFF)][..],
        &[(0x2B, 0)],
        &[(0x141, 0x0009)],
        &[(0x142, 0xFFFF)],
        &[(0x142, 0)],
    ] {
        let model = Model::new();
        words
            .iter()
            .for_each(|(at, word)| set_word(&model, *at, *word));
        let cage = start_link(&model).unwrap();
        assert!(!cage.has_settings, "{words:x?}");
        let warning = cage.warning().unwrap();
        assert!(
            warning.contains("the 82599's EEPROM has settings for"),
            "{warning}"
        );
        assert_eq!(model.read(CORECTL), 0);
        model.pass(std::time::Duration::from_millis(2));
        assert_ne!(model.read(Register(0x42A4)) & 1 << 30, 0, "LINKS");
        assert_free(&model);
    }
}

#[test]
fn settings_and_lists_without_an_end_are_not_used() {
    let model = Model::new();
    (0x160..0x160 + 300).for_each(|at| set_word(&model, at, 7));
    assert!(!start_link(&model).unwrap().has_settings);
    assert_eq!(model.read(CORECTL), 0);
    let model = Model::new();
    set_word(&model, 0x2B, 0x200);
    (0x200..0x300).for_each(|at| set_word(&model, at, 9));
    assert!(!start_link(&model).unwrap().has_settings);
    assert_free(&model);
}

#[test]
fn what_a_dead_driver_held_is_taken_over() {
    let model = Model::new();
    model.read(SWSM);
    drop(Held::acquire(&model, Resource::Mac).unwrap());
    assert_free(&model);
    hold(&model, 1 << 1 | 1 << 3);
    assert!(start_link(&model).unwrap().has_settings);
    assert_free(&model);
}

#[test]
fn what_is_held_shows_and_is_let_go_of() {
    let model = Model::new();
    for (resource, bit) in [(Resource::Phy, 1 << 1), (Resource::Mac, 1 << 3)] {
        // Another port's bits stay.
        hold(&model, 1 << 2);
        let held = Held::acquire(&model, resource).unwrap();
        assert_eq!(model.read(SW_FW_SYNC), bit | 1 << 2);
        drop(held);
        assert_eq!(model.read(SW_FW_SYNC), 1 << 2);
    }
    hold(&model, 0);
    assert_free(&model);
}

#[test]
fn what_firmware_holds_is_not_taken_and_told() {
    for bits in [1 << 6, 1 << 8] {
        let model = Model::new();
        hold(&model, bits);
        assert_eq!(start_link(&model).err(), Some(CardError::Semaphore));
        assert_eq!(model.read(SW_FW_SYNC), bits);
        hold(&model, 0);
        assert_free(&model);
    }
    let liar = liar(SWSM.0, 0, 1 << 1);
    assert_eq!(
        Controller::start(liar.clone(), &SETTINGS).err(),
        Some(CardError::Semaphore)
    );
    liar.assert_clean();
}

#[test]
fn a_failure_after_a_plug_is_told_and_leaves_the_port() {
    let (model, mut controller) = start(&SETTINGS);
    controller.events();
    hold(&model, 1 << 6);
    model.write(Register(0x808), 1 << 26); // EICS: SDP2
    assert_eq!(controller.events(), [Event::Failed(CardError::Semaphore)]);
    assert_eq!(controller.module(), None);
    model.assert_clean();
}

#[test]
fn a_card_torn_out_at_any_access_ends_the_start_of_the_link() {
    let whole = Model::new();
    start_link(&whole).unwrap();
    let accesses = whole.accesses().len();
    // The bits on the module's bus are all alike.
    for access in (1..=accesses).filter(|n| n % 29 == 0 || *n < 200 || accesses - n < 200) {
        let model = Model::new();
        model.remove_at(access);
        let gone = start_link(&model);
        let expected = [CardError::Gone, CardError::Eeprom(EepromError::Gone)];
        assert!(
            gone.as_ref().is_err_and(|error| expected.contains(error)),
            "{gone:?} at {access}"
        );
    }
}
