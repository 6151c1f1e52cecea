//! The prefixes themselves, as control edits them: what the lookup structures are compiled from.
//!
//! Prefixes of up to sixteen bits are spread over 65,536 slots as their *cover*. Longer ones hang
//! below their slot in a tree with a stride of eight bits: a node `depth` bits down holds the prefixes
//! of `depth` + 1 to `depth` + 8 bits, and its children. Prefixes of up to four bits stand apart: default
//! routes, and what stands in for them, are no slot's cover, so that changing them touches none.
//!
//! Groups are kept as leaf codes: 0 for none, else the group's number plus one.

use std::collections::HashMap;
use std::hint::black_box;
use std::marker::PhantomData;

use arrayvec::ArrayVec;

use super::address::Address;
use super::root::CHUNKS;
use super::runs::{Enclosing, Run, Target, push_run};

/// Bits that a slot stands for.
pub(super) const TOP: u8 = 16;
const SLOTS: usize = 1 << TOP;
/// Bits of the longest prefix that is no slot's cover.
pub(super) const COARSE: u8 = 4;
/// Bits that a node adds.
pub(super) const STRIDE: u8 = 8;
/// Levels of nodes that one block may take in.
pub(super) const LEVELS: u8 = 4;
/// Prefixes to prepare for at once.
pub const WARM: usize = 32;
/// Nodes on the way to the longest prefix.
const DEEPEST: usize = 14;

/// A prefix or a child of a node. Sorted by key, a node's items read like a walk of its tree: what
/// encloses comes before what is enclosed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// First of the 256 places, times 16, plus the bits in this node (1 to 8; 9 for a child).
    key: u16,
    /// Leaf code or node.
    pub(super) value: u32,
}

const CHILD: u16 = STRIDE as u16 + 1;

impl Item {
    pub(super) fn start(self) -> u16 {
        self.key >> 4
    }

    pub(super) fn is_child(self) -> bool {
        self.key & 15 == CHILD
    }

    /// The place after its last.
    pub(super) fn end(self) -> u16 {
        self.start() + (256 >> (self.key & 15).min(u16::from(STRIDE)))
    }
}

/// What a node was compiled to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compiled {
    /// The cover it was compiled with.
    pub(super) cover: u32,
    /// What its parent refers to it by.
    pub(super) entry: u32,
    pub(super) block: Option<Block>,
}

/// Words of the arena.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    pub(super) start: u32,
    pub(super) len: u32,
    /// The first generation that may reach it.
    pub(super) born: u32,
}

/// Sixteen bits of an address.
#[derive(Clone, Copy, Default, Debug)]
struct Slot {
    /// Leaf code and length of the longest prefix of 5 to 16 bits that holds the slot.
    cover: u32,
    cover_len: u8,
    dirty: bool,
    /// The node below; 0 for none.
    node: u32,
}

/// Eight bits more. A cache line, as edits touch nodes all over the table.
#[derive(Clone, Debug, Default)]
#[repr(align(64))]
pub(super) struct Node {
    items: Vec<Item>,
    /// What a block of [`LEVELS`] levels from here on would hold: their prefixes, and the children of
    /// the last level, each as one however much is in it.
    pub(super) weight: u32,
    /// Something in it or below changed since it was compiled.
    pub(super) dirty: bool,
    /// Absent when it never was, and in a node that an ancestor's block takes in.
    pub(super) compiled: Option<Compiled>,
}

/// Prefixes and their leaf codes, and what changed since they were last compiled.
#[derive(Clone, Debug)]
pub(super) struct Rib<A> {
    /// The leaf codes of the prefixes of up to [`COARSE`] bits, each at its bits after a one.
    coarse: [u32; 2 << COARSE],
    /// By length and first bits, the others of up to sixteen bits.
    short: HashMap<(u8, u16), u32>,
    slots: Vec<Slot>,
    /// Node 0 is never used.
    pub(super) nodes: Vec<Node>,
    free: Vec<u32>,
    /// Slots to compile, each once.
    dirty: Vec<u16>,
    /// Blocks of nodes that are gone.
    pub(super) orphans: Vec<Block>,
    routes: usize,
    family: PhantomData<A>,
}

impl<A> Default for Rib<A> {
    fn default() -> Self {
        Rib {
            coarse: [0; 2 << COARSE],
            short: HashMap::new(),
            slots: vec![Slot::default(); SLOTS],
            nodes: vec![Node::default()],
            free: Vec::new(),
            dirty: Vec::new(),
            orphans: Vec::new(),
            routes: 0,
            family: PhantomData,
        }
    }
}

impl<A: Address> Rib<A> {
    /// Prefixes.
    pub(super) fn routes(&self) -> usize {
        self.routes
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let items: usize = self.nodes.iter().map(|node| node.items.capacity()).sum();
        // A hash table keeps an eighth free, and a byte an entry of its own.
        let short = self.short.capacity() * (size_of::<((u8, u16), u32)>() + 1) * 8 / 7;
        SLOTS * size_of::<Slot>()
            + self.nodes.capacity() * size_of::<Node>()
            + items * size_of::<Item>()
            + short
    }

    /// Gives the memory of unused nodes back, as far as no used one lies behind them.
    pub(super) fn shrink(&mut self) {
        let last = self.nodes.iter().rposition(|node| !node.items.is_empty());
        let used = last.map_or(1, |last| last + 1);
        self.nodes.truncate(used);
        self.nodes.shrink_to(2 * used);
        self.free.retain(|node| (*node as usize) < used);
        self.free.shrink_to(2 * used);
    }

    /// The leaf code of a prefix without host bits; 0 for none.
    pub(super) fn get(&self, prefix: A, len: u8) -> u32 {
        let top = prefix.top();
        if len <= COARSE {
            return self.coarse[coarse_index(top, len)];
        }
        if len <= TOP {
            return self.short.get(&(len, top)).copied().unwrap_or(0);
        }
        let (mut node, mut depth) = (self.node(top), TOP);
        while node != 0 {
            let (key, is_last) = match len - depth {
                bits if bits > STRIDE => (key(prefix.byte(depth), CHILD), false),
                bits => (key(prefix.byte(depth), u16::from(bits)), true),
            };
            let found = self.find(node, key);
            let value = found.map_or(0, |at| self.nodes[node as usize].items[at].value);
            if is_last {
                return value;
            }
            (node, depth) = (value, depth + STRIDE);
        }
        0
    }

    /// Sets the leaf code of a prefix without host bits; returns the one it had, 0 for none.
    pub(super) fn insert(&mut self, prefix: A, len: u8, leaf: u32) -> u32 {
        let old = match len {
            _ if len <= COARSE => std::mem::replace(self.coarse(prefix.top(), len), leaf),
            _ if len <= TOP => self.insert_short(prefix.top(), len, leaf),
            _ => self.insert_long(prefix, len, leaf),
        };
        self.routes += usize::from(old == 0);
        old
    }

    /// Removes a prefix without host bits; returns the leaf code it had, 0 for none.
    pub(super) fn remove(&mut self, prefix: A, len: u8) -> u32 {
        let old = match len {
            _ if len <= COARSE => std::mem::take(self.coarse(prefix.top(), len)),
            _ if len <= TOP => self.remove_short(prefix.top(), len),
            _ => self.remove_long(prefix, len),
        };
        self.routes -= usize::from(old != 0);
        old
    }

    /// Reads what is about to be read of some slots, so that the misses of all are waited for at once
    /// and not one after the other.
    pub(super) fn warm(&self, slots: impl Iterator<Item = u16>) {
        let nodes: ArrayVec<u32, WARM> = slots.take(WARM).map(|slot| self.node(slot)).collect();
        let items = nodes.iter().map(|node| &self.nodes[*node as usize].items);
        let middles: ArrayVec<usize, WARM> = items.clone().map(|items| items.len() / 2).collect();
        for (items, middle) in items.zip(middles) {
            black_box(items.get(middle).map(|item| item.value));
        }
    }

    /// The slots to compile; each is named once, and then no longer dirty.
    pub(super) fn take_dirty(&mut self) -> Vec<u16> {
        for slot in &self.dirty {
            self.slots[usize::from(*slot)].dirty = false;
        }
        std::mem::take(&mut self.dirty)
    }

    /// The leaf code for what no other prefix holds, by an address's first [`COARSE`] bits.
    pub(super) fn defaults(&self) -> [u32; CHUNKS] {
        std::array::from_fn(|chunk| {
            let mut longest_first =
                (0..=COARSE).map(|shorter| self.coarse[(chunk | CHUNKS) >> shorter]);
            longest_first.find(|leaf| *leaf != 0).unwrap_or(0)
        })
    }

    /// Where the leaf code of a prefix of up to [`COARSE`] bits stands.
    fn coarse(&mut self, top: u16, len: u8) -> &mut u32 {
        &mut self.coarse[coarse_index(top, len)]
    }

    /// All slots that a prefix of more than [`COARSE`] bits reaches.
    pub(super) fn occupied(&self) -> impl Iterator<Item = u16> {
        (0..=u16::MAX).filter(|slot| self.node(*slot) != 0 || self.cover(*slot) != 0)
    }

    /// The node below a slot; 0 for none.
    pub(super) fn node(&self, slot: u16) -> u32 {
        self.slots[usize::from(slot)].node
    }

    /// The leaf code of what encloses a slot.
    pub(super) fn cover(&self, slot: u16) -> u32 {
        self.slots[usize::from(slot)].cover
    }

    /// The items of a node one by one.
    pub(super) fn item(&self, node: u32, at: usize) -> Option<Item> {
        self.nodes[node as usize].items.get(at).copied()
    }

    /// The node's places as runs; neighbours may be of equal leaf code.
    pub(super) fn runs(&self, node: u32, cover: u32, out: &mut Vec<Run>) {
        out.clear();
        let mut outer = Enclosing::new(cover);
        push_run(out, 0, Target::Leaf(cover));
        for item in &self.nodes[node as usize].items {
            outer.close(item.start(), out);
            if item.is_child() {
                let cover = outer.leaf();
                let node = item.value;
                push_run(out, item.start(), Target::Child { node, cover });
                push_run(out, item.end(), Target::Leaf(cover));
            } else {
                push_run(out, item.start(), Target::Leaf(item.value));
                outer.open(item.end(), item.value);
            }
        }
        outer.close(256, out);
        if out.last().is_some_and(|run| run.start == 256) {
            out.pop();
        }
    }

    fn touch(&mut self, slot: u16) {
        if !std::mem::replace(&mut self.slots[usize::from(slot)].dirty, true) {
            self.dirty.push(slot);
        }
    }

    fn insert_short(&mut self, top: u16, len: u8, leaf: u32) -> u32 {
        let old = self.short.insert((len, top), leaf).unwrap_or(0);
        if old != leaf {
            for slot in span(top, len) {
                let at = &mut self.slots[usize::from(slot)];
                if at.cover_len <= len {
                    at.cover_len = len;
                    at.cover = leaf;
                    self.touch(slot);
                }
            }
        }
        old
    }

    fn remove_short(&mut self, top: u16, len: u8) -> u32 {
        let Some(old) = self.short.remove(&(len, top)) else {
            return 0;
        };
        let mut outer = (COARSE + 1..len).rev();
        let parent = outer.find_map(|len| {
            let leaf = self.short.get(&(len, mask_top(top, len)))?;
            Some((*leaf, len))
        });
        let (leaf, parent_len) = parent.unwrap_or((0, 0));
        for slot in span(top, len) {
            let at = &mut self.slots[usize::from(slot)];
            if at.cover_len == len {
                at.cover_len = parent_len;
                at.cover = leaf;
                self.touch(slot);
            }
        }
        old
    }

    fn insert_long(&mut self, prefix: A, len: u8, leaf: u32) -> u32 {
        let top = prefix.top();
        let mut path = Descent::default();
        let mut node = match self.node(top) {
            0 => {
                let node = self.new_node();
                self.slots[usize::from(top)].node = node;
                node
            }
            node => node,
        };
        let mut depth = TOP;
        path.push(node);
        while len > depth + STRIDE {
            let key = key(prefix.byte(depth), CHILD);
            node = match self.find(node, key) {
                Ok(at) => self.nodes[node as usize].items[at].value,
                Err(at) => {
                    let child = self.new_node();
                    let items = &mut self.nodes[node as usize].items;
                    items.insert(at, Item { key, value: child });
                    if let Some(holder) = path.holder_of_children(path.len - 1) {
                        self.nodes[holder as usize].weight += 1;
                    }
                    child
                }
            };
            path.push(node);
            depth += STRIDE;
        }
        let key = key(prefix.byte(depth), u16::from(len - depth));
        let old = match self.find(node, key) {
            Ok(at) => {
                let item = &mut self.nodes[node as usize].items[at];
                std::mem::replace(&mut item.value, leaf)
            }
            Err(at) => {
                let items = &mut self.nodes[node as usize].items;
                items.insert(at, Item { key, value: leaf });
                0
            }
        };
        for (at, node) in path.nodes().iter().enumerate() {
            let node = &mut self.nodes[*node as usize];
            node.weight += u32::from(old == 0 && at >= path.first_holder());
            node.dirty |= old != leaf;
        }
        if old != leaf {
            self.touch(top);
        }
        old
    }

    fn remove_long(&mut self, prefix: A, len: u8) -> u32 {
        let top = prefix.top();
        let mut path = Descent::default();
        let mut node = self.node(top);
        let mut depth = TOP;
        while node != 0 && len > depth + STRIDE {
            path.push(node);
            node = match self.find(node, key(prefix.byte(depth), CHILD)) {
                Ok(at) => self.nodes[node as usize].items[at].value,
                Err(_) => 0,
            };
            depth += STRIDE;
        }
        if node == 0 {
            return 0;
        }
        let Ok(at) = self.find(node, key(prefix.byte(depth), u16::from(len - depth))) else {
            return 0;
        };
        let old = self.nodes[node as usize].items.remove(at).value;
        path.push(node);
        for (at, node) in path.nodes().iter().enumerate() {
            let node = &mut self.nodes[*node as usize];
            node.weight -= u32::from(at >= path.first_holder());
            node.dirty = true;
        }
        self.prune(prefix, &path);
        self.touch(top);
        old
    }

    /// Frees the nodes at the end of a path that have nothing left.
    fn prune(&mut self, prefix: A, path: &Descent) {
        let mut depth = TOP + STRIDE * u8::try_from(path.nodes().len()).unwrap_or(0);
        for (at, node) in path.nodes().iter().enumerate().rev() {
            depth -= STRIDE;
            if !self.nodes[*node as usize].items.is_empty() {
                return;
            }
            let gone = std::mem::take(&mut self.nodes[*node as usize]);
            self.orphans
                .extend(gone.compiled.and_then(|compiled| compiled.block));
            self.free.push(*node);
            let Some(above) = at.checked_sub(1) else {
                self.slots[usize::from(prefix.top())].node = 0;
                return;
            };
            let parent = path.nodes()[above];
            let key = key(prefix.byte(depth - STRIDE), CHILD);
            if let Ok(at) = self.find(parent, key) {
                self.nodes[parent as usize].items.remove(at);
            }
            if let Some(holder) = path.holder_of_children(above) {
                self.nodes[holder as usize].weight -= 1;
            }
        }
    }

    fn find(&self, node: u32, key: u16) -> Result<usize, usize> {
        let items = &self.nodes[node as usize].items;
        items.binary_search_by_key(&key, |item| item.key)
    }

    fn new_node(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            // Each node takes more than 32 bytes: memory ends long before the numbers do.
            u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

fn key(byte: u8, len: u16) -> u16 {
    let start = match len {
        CHILD => u16::from(byte),
        len => u16::from(byte) >> (8 - len) << (8 - len),
    };
    start << 4 | len
}

/// The place in `Rib::coarse` of a prefix of up to [`COARSE`] bits.
fn coarse_index(top: u16, len: u8) -> usize {
    (usize::from(top) | 1 << TOP) >> (TOP - len)
}

fn mask_top(top: u16, len: u8) -> u16 {
    u32::from(top).mask(len + 16).try_into().unwrap_or(0)
}

/// The slots of a prefix of 1 to 16 bits.
fn span(top: u16, len: u8) -> std::ops::RangeInclusive<u16> {
    top..=top | u16::MAX.checked_shr(u32::from(len)).unwrap_or(0)
}

/// The nodes from a slot to a prefix.
#[derive(Default)]
struct Descent {
    nodes: [u32; DEEPEST],
    len: usize,
}

impl Descent {
    fn push(&mut self, node: u32) {
        self.nodes[self.len] = node;
        self.len += 1;
    }

    fn nodes(&self) -> &[u32] {
        &self.nodes[..self.len]
    }

    /// Where the nodes begin whose blocks would take in the last one.
    fn first_holder(&self) -> usize {
        self.len.saturating_sub(LEVELS.into())
    }

    /// The node whose block would end with the node `at` and hold its children.
    fn holder_of_children(&self, at: usize) -> Option<u32> {
        let first = (at + 1).checked_sub(LEVELS.into())?;
        Some(self.nodes[first])
    }
}
