//! How long the steps of a renewal took, between the generated message and the type.

use super::pb;
use crate::timing::GuestTiming;

/// Reads what a guest counted. Any number may be a length.
pub(super) fn read_timing(timing: pb::Timing) -> GuestTiming {
    let pb::Timing { generation, key, turn, look, write, check, gather, reload, probe } = timing;
    GuestTiming { generation, key, turn, look, write, check, gather, reload, probe }
}

/// Writes what was counted here.
pub(super) fn write_timing(timing: GuestTiming) -> pb::Timing {
    let GuestTiming { generation, key, turn, look, write, check, gather, reload, probe } = timing;
    pb::Timing { generation, key, turn, look, write, check, gather, reload, probe }
}
