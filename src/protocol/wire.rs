//! Single JSON values: read with the tolerance that each kind needs, and written back.
//!
//! Nothing here knows an event or a request. Readers borrow from the text and keep what they do not know.

mod read;
mod write;

pub(super) use read::{Int, Listed, Members, Text, Time, by_place, object_count, wire_objects};
pub(super) use write::{Array, Object, document};
