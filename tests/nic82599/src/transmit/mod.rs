//! The transmit engine: from the descriptors of the queues to the wire.

use crate::host::Host;
use crate::state::State;

/// What the engine keeps between descriptors.
#[derive(Default)]
pub(crate) struct Engine {}

/// Sends what the queues in `state.rings.transmit_ready` have; a queue that is done leaves the set.
/// Called when a tail moved, when a queue was enabled, and at every tick.
pub(crate) fn run(_state: &mut State, _host: &mut dyn Host) {}
