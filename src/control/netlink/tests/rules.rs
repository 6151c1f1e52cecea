//! Rules and settings, recorded from a kernel.

use super::*;
use crate::control::mirror::{Netconf, Rule};

const RECORDED: &str = include_str!("../../../../tests/data/netlink/rules.txt");

/// The recorded file: each command with the events that it caused.
fn recorded() -> Vec<(&'static str, Vec<Event>)> {
    let mut steps: Vec<(&str, Vec<Event>)> = Vec::new();
    for line in RECORDED.lines() {
        match line.split_once(' ') {
            Some(("do", command)) => steps.push((command, Vec::new())),
            Some(("event", hex)) => steps.last_mut().unwrap().1.push(event(hex)),
            _ => {}
        }
    }
    steps
}

#[test]
fn rules_are_read_in_the_words_of_the_command_that_made_them() {
    let mut seen = 0;
    for (command, events) in recorded() {
        let Some(words) = command.split_once("rule add priority ") else {
            continue;
        };
        let (priority, text) = words.1.split_once(' ').unwrap();
        let rule = Rule {
            ipv6: command.starts_with("ip -6"),
            priority: priority.parse().unwrap(),
            text: text.to_owned(),
            protocol: 0,
        };
        assert_eq!(events, [Event::RuleSet(rule)], "{command}");
        seen += 1;
    }
    assert!(seen >= 15, "{seen} rules");
}

#[test]
fn a_deleted_rule_is_the_one_that_was_added() {
    let mut mirror = Mirror::default();
    let mut deleted = 0;
    for (command, events) in recorded() {
        for event in events {
            deleted += usize::from(matches!(event, Event::RuleGone(_)));
            let is_rule = matches!(event, Event::RuleGone(_) | Event::RuleSet(_));
            let mut changes = Changes::default();
            let doubt = mirror.apply(event, &mut changes);
            assert!(doubt.is_none() || !is_rule, "{command}: {doubt:?}");
            assert_eq!(changes.rules, is_rule, "{command}");
        }
    }
    assert!(deleted >= 15, "{deleted} deletions");
    assert!(mirror.rules().are_default(false) && mirror.rules().are_default(true));
}

#[test]
fn a_setting_is_told_alone_and_merged() {
    let mut mirror = Mirror::default();
    let all = |mirror: &Mirror, ipv6| mirror.netconf(ipv6, -1).copied();
    let mut told = Vec::new();
    for (command, events) in recorded() {
        for event in events {
            let mut changes = Changes::default();
            if matches!(event, Event::NetconfSet { .. }) {
                mirror.apply(event, &mut changes);
                assert!(changes.settings, "{command}");
                told.push(command);
            }
        }
    }
    assert!(told.len() >= 6, "{told:?}");
    let ipv4 = Netconf {
        forwarding: Some(1),
        rp_filter: Some(2),
        ignore_routes_with_linkdown: Some(1),
    };
    assert_eq!(all(&mirror, false), Some(ipv4));
    let ipv6 = all(&mirror, true).unwrap();
    assert_eq!(ipv6.forwarding, Some(1));
}
