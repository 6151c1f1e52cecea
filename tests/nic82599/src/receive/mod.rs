//! The receive engine: a frame from the wire to the buffers of a queue.

use crate::host::Host;
use crate::state::State;

/// What the engine keeps between frames.
#[derive(Default)]
pub(crate) struct Engine {}

/// Takes a frame, without its FCS, from the wire. The link is up.
pub(crate) fn receive(_state: &mut State, _host: &mut dyn Host, _frame: &[u8]) {}
