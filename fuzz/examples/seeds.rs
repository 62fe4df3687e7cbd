//! Writes the seeds of every target, and what was found before, into `fuzz/corpus`.

use backscroll_fuzz::targets::TARGETS;
use std::path::Path;
use std::{fs, io};

fn main() -> io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.parent().expect("a folder in the repository");
    for target in TARGETS {
        let corpus = here.join("corpus").join(target.name);
        fs::create_dir_all(&corpus)?;
        for (number, seed) in (target.seeds)(root).into_iter().enumerate() {
            fs::write(corpus.join(format!("seed-{number:04}")), seed)?;
        }
        let found = root.join("tests/fuzz/found").join(target.name);
        if found.exists() {
            for file in fs::read_dir(found)? {
                let file = file?;
                fs::copy(file.path(), corpus.join(file.file_name()))?;
            }
        }
    }
    Ok(())
}
