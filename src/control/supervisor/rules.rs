//! Rules (ip-rule(8)) that ixmap does not follow: the operator hears of them, and of their end. The
//! family's packets go to the kernel meanwhile (`World::kernel_only`).

use super::Daemon;
use crate::control::mirror::OddRule;
use crate::shared::api::OddRules;

/// The families, as the log names them, and whether each is IPv6.
const FAMILIES: [(&str, bool); 2] = [("IPv4", false), ("IPv6", true)];

/// Odd rules that are named; an operator with more sees where to look.
const NAMED: usize = 16;

impl Daemon {
    /// Says once that a family's rules are not the default ones, and once that they are again.
    pub(super) fn tell_rules(&mut self) {
        if !self.ready {
            return;
        }
        for (told, (family, ipv6)) in self.told_rules.iter_mut().zip(FAMILIES) {
            let odd = self.keeper.mirror().rules().odd(ipv6);
            match odd.first() {
                Some(first) if !*told => tracing::error!("{}", complaint(family, first, odd.len())),
                None if *told => {
                    tracing::info!(
                        "the {family} rules are the default ones again: ixmapd forwards"
                    );
                }
                Some(_) | None => {}
            }
            *told = !odd.is_empty();
        }
    }

    pub(super) fn odd_rules(&self) -> OddRules {
        let named = |ipv6| {
            let odd = self.keeper.mirror().rules().odd(ipv6);
            odd.iter().take(NAMED).map(ToString::to_string).collect()
        };
        OddRules {
            ipv4: named(false),
            ipv6: named(true),
        }
    }
}

fn complaint(family: &str, first: &OddRule, count: usize) -> String {
    let others = match count {
        0 | 1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    let rule = match first {
        OddRule::Added(rule) => format!("rule `{rule}`{others} is not one of the default rules"),
        OddRule::Missing(rule) => format!("the default rule `{rule}`{others} is missing"),
    };
    format!(
        "{family}: {rule}: the kernel alone forwards {family} now, as its rules say and slower; \
         `{}` ends that (see `ip rule`)",
        first.cure()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::mirror::Rule;

    #[test]
    fn the_log_names_the_rule_what_it_means_and_the_way_out() {
        let rule = Rule {
            ipv6: true,
            priority: 100,
            text: "from all iif lan lookup 7".to_owned(),
            protocol: 3,
        };
        let line = complaint("IPv6", &OddRule::Added(rule.clone()), 1);
        assert!(line.starts_with("IPv6: rule `100: from all iif lan lookup 7` is not"));
        assert!(line.contains("the kernel alone forwards IPv6"), "{line}");
        let cure = "`ip -6 rule del priority 100 from all iif lan lookup 7`";
        assert!(line.contains(cure), "{line}");
        let line = complaint("IPv6", &OddRule::Missing(rule), 3);
        assert!(line.contains("lookup 7` and 2 more is missing"), "{line}");
        assert!(line.contains("`ip -6 rule add "), "{line}");
    }
}
