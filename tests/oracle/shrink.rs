//! From a long script that fails to a short one (delta debugging, Zeller and Hildebrandt 2002).

use std::time::{Duration, Instant};

use crate::commands::Group;

/// After this long the shortest script so far must do.
const LIMIT: Duration = Duration::from_secs(180);

/// The shortest script found that still fails; the last is tried as single commands.
pub(crate) fn shrink(script: Vec<Group>, fails: impl Fn(&[Group]) -> bool) -> Vec<Group> {
    let end = Instant::now() + LIMIT;
    let script = minimise(script, end, &|groups| fails(groups));
    let alone: Vec<Group> = script
        .iter()
        .flatten()
        .map(|line| vec![line.clone()])
        .collect();
    if fails(&alone) {
        return minimise(alone, end, &|groups| fails(groups));
    }
    let lines: Vec<(usize, String)> = script
        .into_iter()
        .enumerate()
        .flat_map(|(group, lines)| lines.into_iter().map(move |line| (group, line)))
        .collect();
    together(&minimise(lines, end, &|lines| fails(&together(lines))))
}

/// Lines back into their groups.
fn together(lines: &[(usize, String)]) -> Vec<Group> {
    let groups = lines.chunk_by(|(a, _), (b, _)| a == b);
    groups
        .map(|group| group.iter().map(|(_, line)| line.clone()).collect())
        .collect()
}

/// Leaves out ever smaller parts as long as it fails without them.
fn minimise<T: Clone>(mut items: Vec<T>, end: Instant, fails: &dyn Fn(&[T]) -> bool) -> Vec<T> {
    let mut part = items.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < items.len() && Instant::now() < end {
            let mut rest = items.clone();
            rest.drain(at..(at + part).min(items.len()));
            if !rest.is_empty() && fails(&rest) {
                items = rest;
                shorter = true;
            } else {
                at += part;
            }
        }
        if part > 1 {
            part = part.div_ceil(2);
        } else if !shorter {
            break;
        }
        if Instant::now() >= end {
            break;
        }
    }
    items
}
