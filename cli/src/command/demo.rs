//! The story.
use crate::failure::Failure;
use crate::render::Out;
use std::path::PathBuf;
pub(crate) async fn run(_out: Out, _dir: Option<PathBuf>) -> Result<(), Failure> {
    Ok(())
}
