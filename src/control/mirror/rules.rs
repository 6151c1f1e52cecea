//! Which tables the kernel asks, in which order (ip-rule(8)). ixmap answers as the rules say that
//! every kernel begins with; anything else only the kernel can follow.

use std::collections::BTreeSet;

use super::lists::Outcome;

/// What every kernel begins with, by family.
const IPV4: [(u32, &str); 3] = [
    (0, "from all lookup local"),
    (32766, "from all lookup main"),
    (32767, "from all lookup default"),
];
const IPV6: [(u32, &str); 2] = [
    (0, "from all lookup local"),
    (32766, "from all lookup main"),
];

/// Of the rules that a kernel begins with.
const RTPROT_KERNEL: u8 = 2;

/// One rule, in the order in which the kernel asks them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rule {
    pub ipv6: bool,
    /// Lower is asked first.
    pub priority: u32,
    /// Selector and action as `ip rule` words them.
    pub text: String,
    /// Who added it (RTPROT_*): the kernel keeps rules apart by that, and acts alike on them.
    pub protocol: u8,
}

impl Rule {
    fn acts_as(&self, other: &Rule) -> bool {
        (self.ipv6, self.priority, &self.text) == (other.ipv6, other.priority, &other.text)
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.priority, self.text)
    }
}

/// A way in which a family's rules are not the default ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OddRule {
    Added(Rule),
    Missing(Rule),
}

impl OddRule {
    /// The command that undoes it.
    pub fn cure(&self) -> String {
        let (verb, rule) = match self {
            OddRule::Added(rule) => ("del", rule),
            OddRule::Missing(rule) => ("add", rule),
        };
        let family = if rule.ipv6 { "-6 " } else { "" };
        // The words of a rule are also the arguments that name it.
        format!(
            "ip {family}rule {verb} priority {} {}",
            rule.priority, rule.text
        )
    }
}

impl std::fmt::Display for OddRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OddRule::Added(rule) => write!(f, "{rule}"),
            OddRule::Missing(rule) => write!(f, "missing {rule}"),
        }
    }
}

/// The rules of both families. Begins as every kernel does.
#[derive(Clone, Debug)]
pub struct Rules {
    rules: BTreeSet<Rule>,
    /// Of those, what was told more than once: again, or of an equal one, which the kernel keeps beside
    /// the first if it is asked without NLM_F_EXCL.
    repeated: BTreeSet<Rule>,
}

/// How often they were told is no part of what they are.
impl PartialEq for Rules {
    fn eq(&self, other: &Rules) -> bool {
        self.rules == other.rules
    }
}

impl Eq for Rules {}

impl Default for Rules {
    fn default() -> Rules {
        let mut rules = Rules::none();
        rules.rules.extend(builtin(false));
        rules.rules.extend(builtin(true));
        rules
    }
}

impl Rules {
    /// To be filled by a dump.
    pub(super) fn none() -> Rules {
        Rules {
            rules: BTreeSet::new(),
            repeated: BTreeSet::new(),
        }
    }

    /// A kernel without rules (CONFIG_IP_MULTIPLE_TABLES off, no IPv6) acts by the default ones.
    pub(super) fn assume_default(&mut self, ipv6: bool) {
        self.rules.extend(builtin(ipv6));
    }

    pub(super) fn insert(&mut self, rule: Rule) -> bool {
        if self.rules.contains(&rule) {
            self.repeated.insert(rule);
            return false;
        }
        self.rules.insert(rule)
    }

    /// A rule that may be there twice stays, in doubt.
    pub(super) fn remove(&mut self, rule: &Rule) -> Outcome {
        if self.repeated.contains(rule) || !self.rules.remove(rule) {
            return Outcome::Doubtful;
        }
        Outcome::Changed
    }

    pub(super) fn forget(&mut self, ipv6: bool) {
        self.rules.retain(|rule| rule.ipv6 != ipv6);
        self.repeated.retain(|rule| rule.ipv6 != ipv6);
    }

    /// Every rule of a family, in the order in which the kernel asks them.
    pub fn of(&self, ipv6: bool) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(move |rule| rule.ipv6 == ipv6)
    }

    /// What sets a family's rules apart from the default ones; empty when nothing does.
    pub fn odd(&self, ipv6: bool) -> Vec<OddRule> {
        let default: Vec<Rule> = builtin(ipv6).collect();
        let added = self.of(ipv6).filter(|rule| !is_among(rule, &default));
        let missing = default
            .iter()
            .filter(|rule| !self.of(ipv6).any(|own| own.acts_as(rule)));
        let added = added.cloned().map(OddRule::Added);
        added
            .chain(missing.cloned().map(OddRule::Missing))
            .collect()
    }

    /// The family's rules are those that ixmap follows.
    pub fn are_default(&self, ipv6: bool) -> bool {
        self.odd(ipv6).is_empty()
    }
}

fn is_among(rule: &Rule, rules: &[Rule]) -> bool {
    rules.iter().any(|other| other.acts_as(rule))
}

fn builtin(ipv6: bool) -> impl Iterator<Item = Rule> {
    let list: &[(u32, &str)] = if ipv6 { &IPV6 } else { &IPV4 };
    list.iter().map(move |(priority, text)| Rule {
        ipv6,
        priority: *priority,
        text: (*text).to_owned(),
        protocol: RTPROT_KERNEL,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(ipv6: bool, priority: u32, text: &str) -> Rule {
        let text = text.to_owned();
        Rule {
            ipv6,
            priority,
            text,
            protocol: RTPROT_KERNEL,
        }
    }

    #[test]
    fn a_kernels_first_rules_are_the_default_ones() {
        let rules = Rules::default();
        for ipv6 in [false, true] {
            assert!(rules.are_default(ipv6) && rules.odd(ipv6).is_empty());
        }
    }

    #[test]
    fn an_added_rule_is_odd_in_its_family_until_it_goes() {
        let mut rules = Rules::default();
        let added = rule(false, 100, "from 10.0.0.0/8 lookup 100");
        assert!(rules.insert(added.clone()));
        assert!(!rules.are_default(false) && rules.are_default(true));
        let odd = rules.odd(false);
        assert_eq!(odd, [OddRule::Added(added.clone())]);
        assert_eq!(odd[0].to_string(), "100: from 10.0.0.0/8 lookup 100");
        assert_eq!(
            odd[0].cure(),
            "ip rule del priority 100 from 10.0.0.0/8 lookup 100"
        );
        assert_eq!(rules.remove(&added), Outcome::Changed);
        assert!(rules.are_default(false));
        assert_eq!(rules.remove(&added), Outcome::Doubtful, "an unknown one");
    }

    #[test]
    fn a_rule_that_was_told_twice_stays_in_doubt_when_one_is_deleted() {
        let mut rules = Rules::default();
        let added = rule(false, 100, "from 10.0.0.0/8 lookup 100");
        assert!(rules.insert(added.clone()));
        let once = rules.clone();
        assert!(!rules.insert(added.clone()), "no news");
        assert_eq!(rules, once);
        assert_eq!(rules.remove(&added), Outcome::Doubtful);
        assert!(!rules.are_default(false), "the kernel may have the other");
    }

    #[test]
    fn a_default_rule_that_is_missing_or_moved_is_odd() {
        let mut rules = Rules::default();
        rules.remove(&rule(true, 32766, "from all lookup main"));
        rules.insert(rule(true, 50, "from all lookup main"));
        let odd: Vec<String> = rules.odd(true).iter().map(ToString::to_string).collect();
        assert_eq!(
            odd,
            [
                "50: from all lookup main",
                "missing 32766: from all lookup main"
            ]
        );
        assert_eq!(
            rules.odd(true)[1].cure(),
            "ip -6 rule add priority 32766 from all lookup main"
        );
    }

    #[test]
    fn rules_of_the_same_words_and_another_protocol_come_and_go_one_by_one() {
        let by = |protocol| Rule {
            protocol,
            ..rule(false, 100, "from 192.0.2.0/24 lookup 100")
        };
        let mut rules = Rules::default();
        assert!(rules.insert(by(98)) && rules.insert(by(99)));
        rules.remove(&by(99));
        assert!(!rules.are_default(false));
        rules.remove(&by(98));
        assert!(rules.are_default(false));
        let again = Rule {
            protocol: 99,
            ..rule(false, 32766, "from all lookup main")
        };
        assert!(rules.insert(again.clone()) && rules.are_default(false));
        rules.remove(&again);
        assert!(rules.are_default(false));
    }

    #[test]
    fn rules_are_listed_in_the_order_in_which_the_kernel_asks_them() {
        let mut rules = Rules::default();
        rules.insert(rule(false, 40000, "from all blackhole"));
        rules.insert(rule(false, 5, "from all iif lan lookup 7"));
        let order: Vec<u32> = rules.of(false).map(|rule| rule.priority).collect();
        assert_eq!(order, [0, 5, 32766, 32767, 40000]);
    }
}
