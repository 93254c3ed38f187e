//! Connections that follow their folder while the host runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::{Connections, Problems};
use crate::look::{Look, Settled};

/// The connections in force. A request that is under way keeps those it began with.
#[derive(Debug)]
pub struct LiveConnections {
    current: ArcSwap<Connections>,
    /// The folder, and how it looked when it was read last: authorities' certificates lie beside the connections. `None`:
    /// they're fixed.
    folder: Option<(PathBuf, Mutex<Settled>)>,
}

impl LiveConnections {
    /// Connections that never change.
    #[must_use]
    pub fn fixed(connections: Arc<Connections>) -> Self {
        Self { current: ArcSwap::new(connections), folder: None }
    }

    /// Reads a folder. One that doesn't exist holds none.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn open(dir: &Path) -> Result<Self, Problems> {
        // Looked at before it's read: what changes in between is read again.
        let look = Look::folder(dir);
        let current = ArcSwap::from_pointee(Connections::load(dir)?);
        Ok(Self { current, folder: Some((dir.to_owned(), Mutex::new(Settled::new(look)))) })
    }

    /// Those in force now.
    #[must_use]
    pub fn load(&self) -> Arc<Connections> {
        self.current.load_full()
    }

    /// Takes a look at the folder, and reads it again if it has changed and looks as it did the last time. Answers whether
    /// there's a new set. All of it is taken up or none: after an error the old set stays in force, and the error isn't
    /// told again until the folder has changed once more.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn refresh(&self) -> Result<bool, Problems> {
        let Some((dir, seen)) = &self.folder else { return Ok(false) };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.look(Look::folder(dir), false) {
            return Ok(false);
        }
        self.current.store(Arc::new(Connections::load(dir)?));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "base_url = \"https://api.example.com\"\nsecret = \"s\"\nattach = { kind = \"bearer\" }\n\
                        [operations.get]\nrequest = \"GET /x\"\neffect = \"read\"\n";

    /// Two looks at a folder that has changed: what the second one comes to.
    fn settled(live: &LiveConnections) -> Result<bool, Problems> {
        assert!(!live.refresh().unwrap(), "it may be half written");
        live.refresh()
    }

    #[test]
    fn a_changed_folder_is_taken_up_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let live = LiveConnections::open(dir.path()).unwrap();
        assert_eq!(live.load().iter().count(), 0);
        assert!(!live.refresh().unwrap());
        std::fs::write(dir.path().join("one.toml"), GOOD).unwrap();
        assert!(settled(&live).unwrap());
        let before = live.load();
        assert_eq!(before.iter().count(), 1);

        std::fs::write(dir.path().join("two.toml"), GOOD.replace("https", "ftp")).unwrap();
        std::fs::write(dir.path().join("three.toml"), GOOD).unwrap();
        assert!(settled(&live).unwrap_err().to_string().contains("two.toml"));
        assert!(Arc::ptr_eq(&before, &live.load()), "half a change was taken up");
        assert!(!live.refresh().unwrap(), "the same problem is told once");

        std::fs::remove_file(dir.path().join("two.toml")).unwrap();
        assert!(settled(&live).unwrap());
        assert_eq!(live.load().iter().count(), 2);
    }

    #[test]
    fn fixed_connections_stay() {
        let live = LiveConnections::fixed(Arc::new(Connections::parse(&[("one.toml", GOOD)]).unwrap()));
        assert!(!live.refresh().unwrap());
        assert_eq!(live.load().iter().count(), 1);
    }
}
