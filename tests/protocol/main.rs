//! The wire as others speak it: captured frames, frames of every kind, and frames that mean harm.

mod fixtures;
