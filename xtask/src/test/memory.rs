//! Temporary files of the tests, in memory.
//!
//! A host has its trail on the disk before it sends anything, so on a real disk most tests wait for it, and none of
//! them can see that it's there: a test kills a host, and doesn't take the power from a machine.

use std::path::Path;

use crate::scratch::Scratch;

/// Where Linux has a file system in memory.
const MEMORY: &str = "/dev/shm";

/// All that the tests of a run leave there until its end, several times over.
const FREE_BYTES_MIN: u64 = 4 << 30;

/// A folder in memory, if there's one that will do. Who names a folder in TMPDIR has the tests write there.
pub(super) fn scratch() -> Option<Scratch> {
    if std::env::var_os("TMPDIR").is_some() {
        return None;
    }
    below(Path::new(MEMORY), FREE_BYTES_MIN)
}

/// A folder below this one, if that has the room and lets programs run: some tests write scripts.
#[cfg(target_os = "linux")]
fn below(parent: &Path, free_bytes_min: u64) -> Option<Scratch> {
    use std::fs::{Permissions, set_permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use nix::sys::statvfs::{FsFlags, statvfs};

    let about = statvfs(parent).ok()?;
    let free_bytes = about.blocks_available().saturating_mul(about.fragment_size());
    if free_bytes < free_bytes_min || about.flags().contains(FsFlags::ST_NOEXEC) {
        return None;
    }
    let scratch = Scratch::create(parent, "tests").ok()?;
    // A test that becomes another user passes through it. What lies in it has modes of its own.
    set_permissions(scratch.folder(), Permissions::from_mode(0o711)).ok()?;
    Some(scratch)
}

#[cfg(not(target_os = "linux"))]
fn below(_parent: &Path, _free_bytes_min: u64) -> Option<Scratch> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_where_there_is_room_and_removed() {
        let parent = std::env::temp_dir();
        let scratch = below(&parent, 1).expect("room for a byte");
        let path = scratch.path("file");
        std::fs::write(&path, "x").expect("a folder of ours");
        drop(scratch);
        assert!(!path.parent().expect("a parent").exists());
        assert!(below(&parent, u64::MAX).is_none());
        // Linux's own files: no program can be run there, and nothing be made.
        assert!(below(Path::new("/proc"), 0).is_none());
        assert!(below(&parent.join("nothing-of-this-name"), 0).is_none());
    }
}
