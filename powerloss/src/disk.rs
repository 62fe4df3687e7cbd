//! The model of a disk that loses power.
//!
//! A flushed file keeps what it held when it was flushed. Each later write to it may be there, be
//! missing, or be torn at the borders of sectors, in any combination: a disk is free in what it writes
//! back first. Names are the folder's own content and settle only when the folder is flushed; until
//! then each name may still stand for what it stood for before.

use crate::Operation;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, io, mem};

/// Returns where folders for images are best made: in memory where the system offers it, because a disk is
/// laid out thousands of times.
pub fn scratch_root() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { env::temp_dir() }
}

/// The largest piece that a disk writes whole or not at all. Source: the sector of classic disks, the
/// smallest in use; SQLite's atomic-commit notes make the same assumption.
pub const SECTOR_BYTES: usize = 512;

/// Which of the changes that were never flushed are still there when the power is back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Survival {
    /// None of them.
    Flushed,
    /// All of them, as after the death of the process alone.
    Everything,
    /// Each by a throw of dice made from this seed; the same seed gives the same throws.
    Dice(u64),
}

/// The files of a folder as someone finds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    files: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// Reads all files of a folder, as they are for a process that starts now.
    ///
    /// # Errors
    ///
    /// When the folder or a file in it cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            files.insert(entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?);
        }
        Ok(Self { files })
    }

    /// Writes the files to a folder, which holds nothing else afterwards.
    ///
    /// # Errors
    ///
    /// When a file cannot be written or an old one not be removed.
    pub fn lay_out(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            fs::remove_file(entry?.path())?;
        }
        self.files.iter().try_for_each(|(name, content)| fs::write(folder.join(name), content))
    }

    /// Returns the content of a file, or `None` when there is no such name.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }
}

/// A change of a file's content that was not flushed. Numbered over the whole disk.
#[derive(Clone, Debug)]
enum Change {
    Write { number: usize, offset: usize, bytes: Vec<u8> },
    Truncate { number: usize, length: usize },
}

/// A file, with or without a name.
#[derive(Clone, Debug, Default)]
struct File {
    /// What is certain to survive.
    flushed: Vec<u8>,
    /// The number of the last change that `flushed` contains.
    version: usize,
    /// Changes since, in the order in which they were asked for.
    waiting: Vec<Change>,
}

impl File {
    fn flush(&mut self) {
        for change in mem::take(&mut self.waiting) {
            self.version = change.apply(&mut self.flushed);
        }
    }

    /// The writes that waited are forgotten; a new length is the folder's business and stays asked for.
    fn refuse_flush(&mut self) {
        self.waiting.retain(|change| matches!(change, Change::Truncate { .. }));
    }

    fn survive(&self, survival: &mut Throw, fingerprint: &mut DefaultHasher) -> Vec<u8> {
        let mut content = self.flushed.clone();
        self.version.hash(fingerprint);
        for change in &self.waiting {
            change.survive(survival, &mut content, fingerprint);
        }
        content
    }
}

impl Change {
    /// Carries the change out and returns its number.
    fn apply(&self, content: &mut Vec<u8>) -> usize {
        match self {
            Self::Write { number, offset, bytes } => {
                put(content, *offset, bytes);
                *number
            }
            Self::Truncate { number, length } => {
                content.resize(*length, 0);
                *number
            }
        }
    }

    fn survive(&self, survival: &mut Throw, content: &mut Vec<u8>, fingerprint: &mut DefaultHasher) {
        match (self, survival.throw()) {
            (_, Fate::Lost) => {}
            (Self::Write { .. } | Self::Truncate { .. }, Fate::Kept) | (Self::Truncate { .. }, Fate::Torn) => {
                (self.apply(content), None::<Vec<usize>>).hash(fingerprint);
            }
            (Self::Write { number, offset, bytes }, Fate::Torn) => {
                let (mut at, mut lost) = (0, Vec::new());
                while at < bytes.len() {
                    let end = bytes.len().min(at + SECTOR_BYTES - (offset + at) % SECTOR_BYTES);
                    if survival.coin() {
                        put(content, offset + at, &bytes[at..end]);
                    } else {
                        lost.push(at);
                    }
                    at = end;
                }
                // By luck nothing is torn: then it is the image that an untorn write gives.
                (number, (!lost.is_empty()).then_some(lost)).hash(fingerprint);
            }
        }
    }
}

/// Writes into a file, which grows with zeros as far as needed.
fn put(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if content.len() < offset {
        content.resize(offset, 0);
    }
    let (over, beyond) = bytes.split_at(bytes.len().min(content.len() - offset));
    content[offset..offset + over.len()].copy_from_slice(over);
    content.extend_from_slice(beyond);
}

/// What becomes of one change.
enum Fate {
    Lost,
    Kept,
    Torn,
}

/// A [`Survival`] at work.
enum Throw {
    Always(bool),
    Dice(Rng),
}

impl Throw {
    fn new(survival: Survival) -> Self {
        match survival {
            Survival::Flushed => Self::Always(false),
            Survival::Everything => Self::Always(true),
            Survival::Dice(seed) => Self::Dice(Rng::with_seed(seed)),
        }
    }

    fn coin(&mut self) -> bool {
        match self {
            Self::Always(kept) => *kept,
            Self::Dice(rng) => rng.bool(),
        }
    }

    fn throw(&mut self) -> Fate {
        match self {
            Self::Always(false) => Fate::Lost,
            Self::Always(true) => Fate::Kept,
            Self::Dice(rng) => match rng.u8(..3) {
                0 => Fate::Lost,
                1 => Fate::Kept,
                _ => Fate::Torn,
            },
        }
    }
}

/// A folder on a disk: what is certain to survive, and what was only asked for.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Every file there ever was; a name leads to one by its place.
    files: Vec<File>,
    /// What the folder certainly says.
    settled: BTreeMap<String, usize>,
    /// What it was asked to say since it was flushed, in order; `None` for a name taken away.
    renamed: Vec<(String, Option<usize>)>,
    /// How many operations it was told.
    operations: usize,
}

impl Disk {
    /// Makes a disk on which `image` is durable.
    pub fn holding(image: &Image) -> Self {
        let mut disk = Self::default();
        for (name, content) in &image.files {
            disk.settled.insert(name.clone(), disk.files.len());
            disk.files.push(File { flushed: content.clone(), ..File::default() });
        }
        disk
    }

    /// Takes the next operation.
    pub fn apply(&mut self, operation: &Operation) {
        self.operations += 1;
        let number = self.operations;
        match operation {
            Operation::Create { file } => {
                self.create(file);
            }
            Operation::Write { file, offset, bytes } => {
                let change = Change::Write { number, offset: in_memory(*offset), bytes: bytes.clone() };
                self.file(file).waiting.push(change);
            }
            Operation::Truncate { file, length } => {
                self.file(file).waiting.push(Change::Truncate { number, length: in_memory(*length) });
            }
            Operation::Flush { file } => self.file(file).flush(),
            Operation::FlushRefused { file } => self.file(file).refuse_flush(),
            Operation::Remove { file } => self.renamed.push((file.clone(), None)),
            Operation::FlushFolder => {
                for (name, file) in mem::take(&mut self.renamed) {
                    rename(&mut self.settled, &name, file);
                }
            }
        }
    }

    /// Lets the power go out now, and returns what is found when it is back. The disk itself goes on.
    pub fn cut(&self, survival: Survival) -> Cut {
        let mut throw = Throw::new(survival);
        let mut names = self.settled.clone();
        let mut stopped = Vec::new();
        for (name, file) in &self.renamed {
            // What one name stands for changes in order; different names know nothing of each other.
            if !stopped.contains(&name) {
                if throw.coin() {
                    rename(&mut names, name, *file);
                } else {
                    stopped.push(name);
                }
            }
        }
        let mut fingerprint = DefaultHasher::new();
        let mut files = BTreeMap::new();
        for (name, file) in names {
            (&name, file).hash(&mut fingerprint);
            files.insert(name, self.files[file].survive(&mut throw, &mut fingerprint));
        }
        Cut { after: self.operations, survival, image: Image { files }, fingerprint: fingerprint.finish() }
    }

    fn create(&mut self, name: &str) -> usize {
        self.files.push(File::default());
        self.renamed.push((name.to_owned(), Some(self.files.len() - 1)));
        self.files.len() - 1
    }

    /// Returns the file that goes by this name for a running process; a new one when there is none.
    fn file(&mut self, name: &str) -> &mut File {
        let newest = self.renamed.iter().rev().find(|(renamed, _)| renamed == name).map(|(_, file)| *file);
        let place = newest.unwrap_or_else(|| self.settled.get(name).copied());
        let place = place.unwrap_or_else(|| self.create(name));
        &mut self.files[place]
    }
}

fn rename(names: &mut BTreeMap<String, usize>, name: &str, file: Option<usize>) {
    match file {
        Some(file) => names.insert(name.to_owned(), file),
        None => names.remove(name),
    };
}

fn in_memory(position: u64) -> usize {
    usize::try_from(position).expect("the files of a test fit in memory")
}

/// One way in which power loss may leave a folder.
#[derive(Clone, Debug)]
pub struct Cut {
    /// How many operations had been asked for when the power went.
    pub after: usize,
    /// Which of the unflushed ones survived; with `after`, all it takes to see this cut again.
    pub survival: Survival,
    /// What is found.
    pub image: Image,
    /// The same for two cuts of one disk only when the same is found. Made from what survived and not from the
    /// bytes, so that it costs next to nothing; equal images may differ in it.
    pub fingerprint: u64,
}

/// Yields what power loss may leave of `start` behind each of `operations`: with nothing that was not
/// flushed, with everything, and `throws` times by dice.
///
/// Of one position no image comes twice; one position's images may come again at another, where more has
/// been promised.
pub fn after_every_operation<'a>(
    start: &Image,
    operations: &'a [Operation],
    throws: u64,
) -> impl Iterator<Item = Cut> + use<'a> {
    let mut disk = Disk::holding(start);
    operations.iter().flat_map(move |operation| {
        disk.apply(operation);
        let place = (disk.operations as u64) << 32;
        let dice = (0..throws).map(|throw| Survival::Dice(place | throw));
        let survivals = [Survival::Flushed, Survival::Everything].into_iter().chain(dice);
        let mut seen = BTreeSet::new();
        survivals.map(|survival| disk.cut(survival)).filter(|cut| seen.insert(cut.fingerprint)).collect::<Vec<_>>()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: u64, bytes: &[u8]) -> Operation {
        Operation::Write { file: "a".to_owned(), offset, bytes: bytes.to_vec() }
    }

    fn flush() -> Operation {
        Operation::Flush { file: "a".to_owned() }
    }

    fn create() -> Operation {
        Operation::Create { file: "a".to_owned() }
    }

    fn disk(operations: &[Operation]) -> Disk {
        let mut disk = Disk::default();
        operations.iter().for_each(|operation| disk.apply(operation));
        disk
    }

    #[test]
    fn flushed_bytes_stay_and_the_others_need_luck() {
        let disk = disk(&[create(), Operation::FlushFolder, write(0, b"safe"), flush(), write(4, b", or not")]);
        assert_eq!(disk.cut(Survival::Flushed).image.file("a"), Some(&b"safe"[..]));
        assert_eq!(disk.cut(Survival::Everything).image.file("a"), Some(&b"safe, or not"[..]));
    }

    #[test]
    fn a_name_settles_with_its_folder_only() {
        let mut disk = disk(&[create(), write(0, b"x"), flush()]);
        assert_eq!(disk.cut(Survival::Flushed).image.file("a"), None);
        disk.apply(&Operation::FlushFolder);
        assert_eq!(disk.cut(Survival::Flushed).image.file("a"), Some(&b"x"[..]));
        disk.apply(&Operation::Remove { file: "a".to_owned() });
        assert_eq!(disk.cut(Survival::Flushed).image.file("a"), Some(&b"x"[..]), "the old file is back");
        assert_eq!(disk.cut(Survival::Everything).image.file("a"), None);
    }

    #[test]
    fn a_new_file_of_an_old_name_does_not_touch_the_old_one() {
        let start = disk(&[create(), Operation::FlushFolder, write(0, b"old"), flush()]);
        let mut disk = Disk::holding(&start.cut(Survival::Flushed).image);
        for operation in [Operation::Remove { file: "a".to_owned() }, create(), write(0, b"new"), flush()] {
            disk.apply(&operation);
        }
        assert_eq!(disk.cut(Survival::Flushed).image.file("a"), Some(&b"old"[..]));
        disk.apply(&Operation::FlushFolder);
        assert_eq!(disk.cut(Survival::Flushed).image.file("a"), Some(&b"new"[..]));
    }

    #[test]
    fn what_a_refused_flush_dropped_no_later_flush_brings_back() {
        let refused = Operation::FlushRefused { file: "a".to_owned() };
        let disk = disk(&[create(), Operation::FlushFolder, write(0, b"gone"), refused, write(4, b"here"), flush()]);
        for survival in [Survival::Flushed, Survival::Everything] {
            assert_eq!(disk.cut(survival).image.file("a"), Some(&b"\0\0\0\0here"[..]));
        }
    }

    #[test]
    fn a_torn_write_keeps_whole_sectors() {
        let bytes: Vec<u8> = [1; 100].into_iter().chain([2; 512]).chain([3; 400]).collect();
        let disk = disk(&[create(), Operation::FlushFolder, write(412, &bytes)]);
        let mut seen = BTreeSet::new();
        for seed in 0..200 {
            let image = disk.cut(Survival::Dice(seed)).image;
            let mut content = image.file("a").expect("a settled name").to_vec();
            content.resize(1424, 0);
            let sectors = [&content[412..512], &content[512..1024], &content[1024..1424]];
            assert!(sectors.iter().all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            seen.insert(sectors.map(|sector| sector[0]));
        }
        assert_eq!(seen.len(), 8, "every combination of three sectors");
    }

    #[test]
    fn fingerprints_tell_images_apart_and_equal_ones_together() {
        let disk = disk(&[create(), Operation::FlushFolder, write(0, &[7; 2048]), write(1024, &[8; 2048])]);
        let mut images = BTreeMap::new();
        for seed in 0..1000 {
            let cut = disk.cut(Survival::Dice(seed));
            assert_eq!(*images.entry(cut.fingerprint).or_insert_with(|| cut.image.clone()), cut.image);
        }
        assert!(images.len() > 100);
    }
}
