//! One client's session: carries out its commands against the [`Function`].

use super::function::{Function, REGIONS, Region};
use super::message::*;
use super::outbox::Outbox;
use super::ring_memory::AREAS;
use crate::guest_memory::MAX_RANGES;
use crate::pci::MSIX_VECTORS;
use rustix::io::Errno;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::rc::Rc;

/// The minor versions that we speak, of major version 0.
const MINOR: u16 = 1;
/// The longest JSON text of a client's capabilities.
const MAX_CAPABILITIES: usize = 4096;

const DEVICE_CAN_RESET: u32 = 1 << 0;
const DEVICE_IS_PCI: u32 = 1 << 1;

const REGION_READABLE: u32 = 1 << 0;
const REGION_WRITABLE: u32 = 1 << 1;
const REGION_MAPPABLE: u32 = 1 << 2;
const REGION_HAS_CAPABILITIES: u32 = 1 << 3;
const REGION_INFO_SIZE: u32 = 32;
const CAPABILITY_SPARSE: u16 = 1;

const MSIX_INDEX: u32 = 2;
/// Fatal errors, which the device does not have: offered so that QEMU does not warn.
const ERROR_INDEX: u32 = 3;
/// INTx, MSI, MSI-X, errors, requests.
const INTERRUPT_KINDS: u32 = 5;
const IRQ_EVENTFD: u32 = 1 << 0;
const IRQ_NO_RESIZE: u32 = 1 << 3;
const SET_TRIGGER: u32 = 1 << 5;
const TRIGGER_ALL: u32 = 1 << 0 | SET_TRIGGER;
const TRIGGER_CHOSEN: u32 = 1 << 1 | SET_TRIGGER;
const TRIGGER_BY_EVENTFD: u32 = 1 << 2 | SET_TRIGGER;

const MAP_WRITABLE: u32 = 1 << 1;
const UNMAP_ALL: u32 = 1 << 1;

/// The most writes in one REGION_WRITE_MULTI.
const MAX_WRITES: u64 = 2000;

/// What answers a command.
#[derive(Default)]
struct Answer {
    payload: Vec<u8>,
    fd: Option<Rc<OwnedFd>>,
}

type Handled = Result<Answer, Errno>;

#[derive(Default)]
pub(super) struct Session {
    negotiated: bool,
}

impl Session {
    /// Carries out one message, and queues the reply if one is wanted.
    pub(super) fn handle(
        &mut self,
        function: &mut Function,
        outbox: &mut Outbox,
        header: Header,
        payload: &[u8],
        fds: Vec<OwnedFd>,
    ) {
        if header.flags & TYPE_MASK != TYPE_COMMAND {
            return; // a reply, though we ask nothing
        }
        let answer = self.carry_out(function, header.command, payload, fds);
        if !header.wants_reply() {
            return;
        }
        match answer {
            Ok(Answer { payload, fd }) => outbox.push(header.reply(Ok(&payload)), fd),
            Err(errno) => outbox.push(header.reply(Err(errno)), None),
        }
    }

    fn carry_out(
        &mut self,
        function: &mut Function,
        command: u16,
        payload: &[u8],
        fds: Vec<OwnedFd>,
    ) -> Handled {
        let fields = Fields(payload);
        if !self.negotiated && command != VERSION {
            return Err(Errno::PROTO);
        }
        match command {
            VERSION => self.version(fields),
            DMA_MAP => dma_map(function, fields, fds),
            DMA_UNMAP => dma_unmap(function, fields, payload),
            DEVICE_GET_INFO => device_info(fields),
            DEVICE_GET_REGION_INFO => region_info(function, fields),
            DEVICE_GET_IRQ_INFO => irq_info(fields),
            DEVICE_SET_IRQS => set_irqs(function, fields, fds),
            REGION_READ => region_read(function, fields),
            REGION_WRITE => region_write(function, fields),
            REGION_WRITE_MULTI => region_write_multi(function, fields),
            DEVICE_RESET => {
                function.reset();
                Ok(Answer::default())
            }
            // Also DEVICE_GET_REGION_IO_FDS: every access comes by message or by a mapping.
            _ => Err(Errno::OPNOTSUPP),
        }
    }

    fn version(&mut self, mut fields: Fields<'_>) -> Handled {
        let (major, minor) = (fields.u16()?, fields.u16()?);
        if major != 0 {
            return Err(Errno::PROTONOSUPPORT);
        }
        let proposed = capabilities(fields.0)?;
        self.negotiated = true;
        let reply = Payload::default().u16(major).u16(minor.min(MINOR));
        let mut payload = reply.0;
        payload.extend(agreed(&proposed).to_string().bytes());
        payload.push(0);
        Ok(Answer { payload, fd: None })
    }
}

impl From<Payload> for Answer {
    fn from(payload: Payload) -> Answer {
        Answer {
            payload: payload.0,
            fd: None,
        }
    }
}

/// The capabilities that the client proposes: JSON that ends with a NUL, or nothing.
fn capabilities(text: &[u8]) -> Result<Map<String, Value>, Errno> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    if text.len() > MAX_CAPABILITIES {
        return Err(Errno::INVAL);
    }
    let text = text.strip_suffix(&[0]).ok_or(Errno::INVAL)?;
    let mut value: Value = serde_json::from_slice(text).map_err(|_| Errno::INVAL)?;
    match value.get_mut("capabilities").map(Value::take) {
        None => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err(Errno::INVAL),
    }
}

/// Our side of what the client proposes, and nothing that it does not know.
fn agreed(proposed: &Map<String, Value>) -> Value {
    let ours = [
        ("max_msg_fds", json!(MAX_FDS)),
        ("max_data_xfer_size", json!(MAX_TRANSFER)),
        ("max_dma_maps", json!(MAX_RANGES)),
        ("pgsizes", json!(4096)),
        ("write_multiple", json!(true)),
    ];
    let agreed = ours
        .into_iter()
        .filter(|(name, _)| proposed.contains_key(*name));
    let agreed: Map<String, Value> = agreed
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    json!({ "capabilities": agreed })
}

fn dma_map(function: &mut Function, mut fields: Fields<'_>, fds: Vec<OwnedFd>) -> Handled {
    let (_argsz, flags) = (fields.u32()?, fields.u32()?);
    let (offset, address, size) = (fields.u64()?, fields.u64()?, fields.u64()?);
    let mut fds = fds.into_iter();
    let file = fds.next();
    if fds.next().is_some() {
        return Err(Errno::INVAL);
    }
    let writable = flags & MAP_WRITABLE != 0;
    let memory = &mut function.slot.memory;
    memory
        .map(address, size, file, offset, writable)
        .map_err(|error| error.errno())?;
    Ok(Answer::default())
}

fn dma_unmap(function: &mut Function, mut fields: Fields<'_>, payload: &[u8]) -> Handled {
    let (_argsz, flags) = (fields.u32()?, fields.u32()?);
    let (address, size) = (fields.u64()?, fields.u64()?);
    let memory = &mut function.slot.memory;
    if flags & UNMAP_ALL != 0 {
        memory.clear();
    } else {
        memory.unmap(address, size).map_err(|error| error.errno())?;
    }
    Ok(Answer {
        payload: payload[..24].to_vec(),
        fd: None,
    })
}

fn device_info(mut fields: Fields<'_>) -> Handled {
    let _argsz = fields.u32()?;
    let flags = DEVICE_CAN_RESET | DEVICE_IS_PCI;
    Ok(Payload::default()
        .u32(16)
        .u32(flags)
        .u32(REGIONS)
        .u32(INTERRUPT_KINDS)
        .into())
}

fn region_info(function: &Function, mut fields: Fields<'_>) -> Handled {
    let (argsz, _flags, index) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let region = Region::of(index).ok_or(Errno::INVAL)?;
    if argsz < REGION_INFO_SIZE {
        return Err(Errno::INVAL);
    }
    let flags = if region == Region::Absent {
        0
    } else {
        REGION_READABLE | REGION_WRITABLE
    };
    let info = |size, flags, capabilities| {
        let head = Payload::default()
            .u32(size)
            .u32(flags)
            .u32(index)
            .u32(capabilities);
        head.u64(region.size()).u64(0)
    };
    let rings = function.rings().filter(|_| region == Region::Registers);
    let Some(rings) = rings else {
        return Ok(info(REGION_INFO_SIZE, flags, 0).into());
    };
    let sparse = sparse_areas();
    let size = REGION_INFO_SIZE + u32::try_from(sparse.len()).map_err(|_| Errno::INVAL)?;
    let flags = flags | REGION_MAPPABLE | REGION_HAS_CAPABILITIES;
    let mut payload = info(size, flags, REGION_INFO_SIZE).0;
    if argsz < size {
        // The client asks again with more room.
        return Ok(Answer { payload, fd: None });
    }
    payload.extend(sparse);
    Ok(Answer {
        payload,
        fd: Some(rings.file()),
    })
}

/// The capability that says which parts of the registers may be mapped.
fn sparse_areas() -> Vec<u8> {
    let (id, version, next) = (CAPABILITY_SPARSE, 1, 0);
    let areas = u32::try_from(AREAS.len()).unwrap_or_default();
    let head = Payload::default()
        .u16(id)
        .u16(version)
        .u32(next)
        .u32(areas)
        .u32(0);
    let sparse = AREAS.iter().fold(head, |payload, &(offset, size)| {
        payload.u64(offset as u64).u64(size as u64)
    });
    sparse.0
}

fn irq_info(mut fields: Fields<'_>) -> Handled {
    let (_argsz, _flags, index) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (flags, count) = match index {
        MSIX_INDEX => (IRQ_EVENTFD | IRQ_NO_RESIZE, u32::from(MSIX_VECTORS)),
        ERROR_INDEX => (IRQ_EVENTFD, 1),
        _ if index < INTERRUPT_KINDS => (0, 0),
        _ => return Err(Errno::INVAL),
    };
    Ok(Payload::default()
        .u32(16)
        .u32(flags)
        .u32(index)
        .u32(count)
        .into())
}

fn set_irqs(function: &mut Function, mut fields: Fields<'_>, fds: Vec<OwnedFd>) -> Handled {
    let (_argsz, flags, index) = (fields.u32()?, fields.u32()?, fields.u32()?);
    let (start, count) = (fields.u32()?, fields.u32()?);
    let vectors = &mut function.slot.vectors;
    let range = range(start, count)?;
    if index >= INTERRUPT_KINDS {
        return Err(Errno::INVAL);
    }
    if flags == TRIGGER_ALL && count == 0 {
        if index == MSIX_INDEX {
            vectors.clear();
        }
        return Ok(Answer::default());
    }
    if index == ERROR_INDEX && range == (0..1) {
        return Ok(Answer::default());
    }
    if index != MSIX_INDEX || !vectors.has(&range) {
        return Err(Errno::INVAL);
    }
    match flags {
        TRIGGER_BY_EVENTFD => {
            if !vectors.set(range, fds) {
                return Err(Errno::INVAL);
            }
        }
        TRIGGER_ALL => range.for_each(|vector| vectors.fire(vector)),
        TRIGGER_CHOSEN => {
            let wanted = fields.bytes(range.len())?;
            let chosen = range.zip(wanted).filter(|(_, wanted)| **wanted != 0);
            chosen.for_each(|(vector, _)| vectors.fire(vector));
        }
        // Masking is done at the MSI-X table, not here.
        _ => return Err(Errno::INVAL),
    }
    Ok(Answer::default())
}

fn range(start: u32, count: u32) -> Result<Range<usize>, Errno> {
    let end = start.checked_add(count).ok_or(Errno::INVAL)?;
    Ok(start as usize..end as usize)
}

fn region_read(function: &mut Function, mut fields: Fields<'_>) -> Handled {
    let (offset, index, count) = (fields.u64()?, fields.u32()?, fields.u32()?);
    let region = Region::of(index).ok_or(Errno::INVAL)?;
    if count > MAX_TRANSFER {
        return Err(Errno::INVAL);
    }
    let mut payload = Payload::default().u64(offset).u32(index).u32(count).0;
    let head = payload.len();
    payload.resize(head + count as usize, 0);
    function.read(region, offset, &mut payload[head..])?;
    Ok(Answer { payload, fd: None })
}

fn region_write(function: &mut Function, mut fields: Fields<'_>) -> Handled {
    let (offset, index, count) = (fields.u64()?, fields.u32()?, fields.u32()?);
    let region = Region::of(index).ok_or(Errno::INVAL)?;
    let data = fields.bytes(count as usize)?;
    function.write(region, offset, data)?;
    Ok(Payload::default().u64(offset).u32(index).u32(count).into())
}

/// Up to eight bytes each, written one after the other; the first that fails ends it.
fn region_write_multi(function: &mut Function, mut fields: Fields<'_>) -> Handled {
    let writes = fields.u64()?;
    if writes > MAX_WRITES {
        return Err(Errno::INVAL);
    }
    for _ in 0..writes {
        let (offset, index, count) = (fields.u64()?, fields.u32()?, fields.u32()?);
        let region = Region::of(index).ok_or(Errno::INVAL)?;
        let data = fields.bytes(8)?.get(..count as usize).ok_or(Errno::INVAL)?;
        function.write(region, offset, data)?;
    }
    Ok(Payload::default().u64(writes).into())
}
