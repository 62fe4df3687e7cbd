//! The SQLite VFS that puts a [`Record`] between a store and the platform's files.
//!
//! A VFS is a table of C functions, so this is the one file with unsafe code. It decides nothing: it
//! turns pointers into values, asks the record, and forwards to the platform's own VFS (the host).

#![allow(unsafe_code)]

use crate::recorder::{FaultKind, Record, record_of};
use rusqlite::ffi::{self, sqlite3_file, sqlite3_io_methods, sqlite3_vfs};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::PathBuf;
use std::sync::{Arc, Once};
use std::{ptr, slice};

/// The name under which SQLite knows the VFS, once a [`Recorder`](crate::Recorder) was made.
///
/// Files outside of watched folders behave as if the platform's own VFS had opened them.
pub const VFS: &str = "powerloss";

const VFS_C: &CStr = c"powerloss";

/// A file in a watched folder, as SQLite holds it. The host's own file object follows in the same memory.
///
/// SQLite allocates the memory and frees it after `close`; `watched` is ours in between.
#[repr(C)]
struct File {
    base: sqlite3_file,
    watched: *mut Watched,
}

/// What we keep about an open file.
struct Watched {
    record: Arc<Record>,
    name: String,
    /// SQLite's unix layer flushes the folder behind the first flush of a journal or log.
    folder_flush_due: bool,
}

/// Returns the host's file object behind ours.
///
/// # Safety
///
/// `file` was opened by [`open`], or is being opened and has the size that [`register`] announced.
unsafe fn host_file(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: the allocation holds a `File` and then the host's object; both need the alignment of a pointer.
    unsafe { file.cast::<File>().add(1).cast() }
}

/// Returns what we keep about an open file.
///
/// # Safety
///
/// `file` was opened by [`open`] and not yet closed. SQLite calls the methods of one file one at a time,
/// so nobody else holds the reference.
unsafe fn watched<'a>(file: *mut sqlite3_file) -> &'a mut Watched {
    // SAFETY: `open` stored a pointer from a box there, and only `close` takes it away.
    unsafe { &mut *(*file.cast::<File>()).watched }
}

/// Returns the host behind our VFS.
///
/// # Safety
///
/// `vfs` is the one that [`register`] made.
unsafe fn host(vfs: *mut sqlite3_vfs) -> *mut sqlite3_vfs {
    // SAFETY: `register` put the host there, and SQLite never frees it.
    unsafe { (*vfs).pAppData.cast() }
}

/// Calls a method of the host: `method!(host_file.xRead(…))`, or of its VFS.
macro_rules! method {
    ($table:expr, $name:ident ( $($argument:expr),* )) => {
        ($table.$name.expect("SQLite's own VFS has every method of its version"))($($argument),*)
    };
}

macro_rules! forward {
    ($($name:ident => $method:ident ( $($argument:ident : $type:ty),* ) $(-> $returned:ty)?;)*) => {$(
        unsafe extern "C" fn $name(file: *mut sqlite3_file $(, $argument: $type)*) $(-> $returned)? {
            // SAFETY: SQLite calls this for files that `open` opened, and the host gets the arguments as they came.
            unsafe {
                let file = host_file(file);
                method!((*(*file).pMethods), $method(file $(, $argument)*))
            }
        }
    )*};
}

forward! {
    read => xRead(buffer: *mut c_void, count: c_int, offset: i64) -> c_int;
    file_size => xFileSize(size: *mut i64) -> c_int;
    lock => xLock(level: c_int) -> c_int;
    unlock => xUnlock(level: c_int) -> c_int;
    check_reserved_lock => xCheckReservedLock(held: *mut c_int) -> c_int;
    file_control => xFileControl(code: c_int, argument: *mut c_void) -> c_int;
    sector_size => xSectorSize() -> c_int;
    device_characteristics => xDeviceCharacteristics() -> c_int;
    shm_map => xShmMap(region: c_int, size: c_int, extend: c_int, memory: *mut *mut c_void) -> c_int;
    shm_lock => xShmLock(offset: c_int, count: c_int, flags: c_int) -> c_int;
    shm_barrier => xShmBarrier();
    shm_unmap => xShmUnmap(delete: c_int) -> c_int;
}

/// Turns SQLite's result codes into results, and back.
fn checked(code: c_int) -> Result<(), c_int> {
    if code == ffi::SQLITE_OK { Ok(()) } else { Err(code) }
}

fn code(result: Result<(), c_int>) -> c_int {
    result.err().unwrap_or(ffi::SQLITE_OK)
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: SQLite closes each opened file once; the box came from `open` and nothing uses it afterwards.
    unsafe {
        drop(Box::from_raw((*file.cast::<File>()).watched));
        let file = host_file(file);
        method!((*(*file).pMethods), xClose(file))
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, buffer: *const c_void, count: c_int, offset: i64) -> c_int {
    let (Ok(length), Ok(place)) = (usize::try_from(count), u64::try_from(offset)) else { return ffi::SQLITE_MISUSE };
    // SAFETY: `file` is open, and SQLite hands `count` readable bytes.
    let (watched, bytes, file) =
        unsafe { (watched(file), slice::from_raw_parts(buffer.cast::<u8>(), length), host_file(file)) };
    let written = watched.record.write(&watched.name, place, bytes, |kept| {
        let count = c_int::try_from(kept.len()).map_err(|_| ffi::SQLITE_MISUSE)?;
        // SAFETY: `kept` is the beginning of SQLite's buffer.
        checked(unsafe { method!((*(*file).pMethods), xWrite(file, kept.as_ptr().cast(), count, offset)) })
    });
    match written {
        Ok(None) => ffi::SQLITE_OK,
        Ok(Some(FaultKind::DiskFull | FaultKind::HalfWrite)) => ffi::SQLITE_FULL,
        Ok(Some(FaultKind::WriteError | FaultKind::FlushError)) => ffi::SQLITE_IOERR_WRITE,
        Err(code) => code,
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    let Ok(length) = u64::try_from(size) else { return ffi::SQLITE_MISUSE };
    // SAFETY: `file` is open.
    let (watched, file) = unsafe { (watched(file), host_file(file)) };
    code(watched.record.truncate(&watched.name, length, || {
        // SAFETY: `file` is the host's part of the open file.
        checked(unsafe { method!((*(*file).pMethods), xTruncate(file, size)) })
    }))
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: `file` is open.
    let watched = unsafe { watched(file) };
    if !watched.record.flush(&watched.name, watched.folder_flush_due) {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    watched.folder_flush_due = false;
    ffi::SQLITE_OK
}

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    // Version 2 has the shared memory that WAL needs, and not the mapped files of version 3, through
    // which writes would pass the record by.
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

/// Returns a path that SQLite hands over; `None` for a temporary file, which has none.
///
/// # Safety
///
/// `path` is null or a C string.
unsafe fn path_of(path: *const c_char) -> Option<PathBuf> {
    if path.is_null() {
        return None;
    }
    // SAFETY: not null, so a C string by this function's contract.
    let path = unsafe { CStr::from_ptr(path) };
    Some(PathBuf::from(path.to_string_lossy().into_owned()))
}

unsafe extern "C" fn open(
    vfs: *mut sqlite3_vfs,
    path: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    granted: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands null or a C string, and our own VFS.
    let (place, host) = unsafe { (path_of(path), host(vfs)) };
    let Some((place, (record, name))) = place.and_then(|place| Some((place.clone(), record_of(&place)?))) else {
        // SAFETY: SQLite's arguments as they came; the memory is larger than the host needs.
        return unsafe { method!((*host), xOpen(host, path, file, flags, granted)) };
    };
    // SAFETY: the memory has room for our part and the host's. Without methods in its base, SQLite does not
    // close a file that could not be opened.
    let opened = unsafe {
        (*file).pMethods = ptr::null();
        method!((*host), xOpen(host, path, host_file(file), flags, granted))
    };
    if opened != ffi::SQLITE_OK {
        return opened;
    }
    record.opened(&name, &place);
    let logs = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_SUPER_JOURNAL | ffi::SQLITE_OPEN_WAL;
    let folder_flush_due = flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & logs != 0;
    let watched = Box::into_raw(Box::new(Watched { record, name, folder_flush_due }));
    // SAFETY: as above; `close` takes the box back.
    unsafe { file.cast::<File>().write(File { base: sqlite3_file { pMethods: &raw const METHODS }, watched }) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(vfs: *mut sqlite3_vfs, path: *const c_char, flush_folder: c_int) -> c_int {
    // SAFETY: SQLite hands a C string and our own VFS.
    let (place, host) = unsafe { (path_of(path), host(vfs)) };
    let recorded = place.as_deref().and_then(record_of);
    let remove = |flush_folder| {
        // SAFETY: SQLite's arguments as they came.
        checked(unsafe { method!((*host), xDelete(host, path, flush_folder)) })
    };
    code(match recorded {
        Some((record, name)) => record.remove(&name, flush_folder & 1 != 0, || remove(0)),
        None => remove(flush_folder),
    })
}

unsafe extern "C" fn access(vfs: *mut sqlite3_vfs, path: *const c_char, flags: c_int, result: *mut c_int) -> c_int {
    // SAFETY: SQLite's arguments as they came, and our own VFS.
    unsafe {
        let host = host(vfs);
        method!((*host), xAccess(host, path, flags, result))
    }
}

unsafe extern "C" fn full_path(vfs: *mut sqlite3_vfs, path: *const c_char, count: c_int, full: *mut c_char) -> c_int {
    // SAFETY: SQLite's arguments as they came, and our own VFS.
    unsafe {
        let host = host(vfs);
        method!((*host), xFullPathname(host, path, count, full))
    }
}

/// Makes the VFS known to SQLite, once in a process; the default one stays the default.
pub(crate) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SQLite initialises itself, and its default VFS lives as long as the process. Ours is a copy
        // that is never freed; the functions it keeps (clock, randomness, sleep) do not look at the VFS.
        let registered = unsafe {
            let host = ffi::sqlite3_vfs_find(ptr::null());
            assert!(!host.is_null(), "SQLite has a default VFS");
            let mut own = *host;
            own.iVersion = 1;
            own.pNext = ptr::null_mut();
            own.zName = VFS_C.as_ptr();
            own.pAppData = host.cast();
            own.szOsFile += c_int::try_from(size_of::<File>()).expect("two pointers");
            own.xOpen = Some(open);
            own.xDelete = Some(delete);
            own.xAccess = Some(access);
            own.xFullPathname = Some(full_path);
            own.xDlOpen = None;
            own.xDlError = None;
            own.xDlSym = None;
            own.xDlClose = None;
            ffi::sqlite3_vfs_register(Box::into_raw(Box::new(own)), 0)
        };
        assert_eq!(registered, ffi::SQLITE_OK, "SQLite takes another VFS");
    });
}

/// Sends every connection of this process that names no VFS through ours, from now on.
///
/// For tests of programs that leave no choice of VFS. Connections outside of watched folders do not notice.
pub fn make_default() {
    register();
    // SAFETY: `register` made the VFS known under this name, and SQLite allows to register one again.
    let registered = unsafe { ffi::sqlite3_vfs_register(ffi::sqlite3_vfs_find(VFS_C.as_ptr()), 1) };
    assert_eq!(registered, ffi::SQLITE_OK, "SQLite takes another default VFS");
}
