//! Budgets that follow their file while the host runs.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::Budgets;
use crate::connection::{Connections, Problems};
use crate::look::{Look, Settled};

/// The operator's budgets in force. A request goes by those of the moment at which it's counted.
#[derive(Debug)]
pub struct LiveBudgets {
    current: ArcSwap<Budgets>,
    /// The file, and how it looked when it was read last. `None`: they're fixed.
    file: Option<(PathBuf, Mutex<Settled>)>,
}

impl From<Budgets> for LiveBudgets {
    /// Budgets that never change.
    fn from(budgets: Budgets) -> Self {
        Self { current: ArcSwap::from_pointee(budgets), file: None }
    }
}

impl LiveBudgets {
    /// Reads a file. One that isn't there holds no budgets.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn open(file: PathBuf, connections: &Connections) -> Result<Self, Problems> {
        // Looked at before it's read: what changes in between is read again.
        let look = Look::file(&file);
        let current = ArcSwap::from_pointee(Budgets::load(&file, connections)?);
        Ok(Self { current, file: Some((file, Mutex::new(Settled::new(look)))) })
    }

    /// Those in force now.
    #[must_use]
    pub fn load(&self) -> Arc<Budgets> {
        self.current.load_full()
    }

    /// Takes a look at the file, and reads it again if it has changed and looks as it did the last time; if what it speaks of
    /// has changed (`anyway`), even if it hasn't. Answers whether there are new budgets. After an error the old ones stay in
    /// force, and the error isn't told again until the file has changed once more.
    ///
    /// # Errors
    /// Everything that is wrong with it; and where it's gone or empty, so that nothing says that there are to be no budgets.
    pub fn refresh(&self, connections: &Connections, anyway: bool) -> Result<bool, Problems> {
        let Some((file, seen)) = &self.file else { return Ok(false) };
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if !seen.look(Look::file(file), anyway) {
            return Ok(false);
        }
        self.current.store(Arc::new(self.load().load_again(file, connections)?));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: &str = "[[budget]]\nsubject = \"tenant\"\nunit = \"usd\"\nwindow = \"day\"\nlimit = 1\n";

    /// A file with one budget, which is in force.
    struct Followed {
        _folder: tempfile::TempDir,
        path: PathBuf,
        live: LiveBudgets,
    }

    impl Followed {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("budgets.toml");
            std::fs::write(&path, BUDGET).unwrap();
            let live = LiveBudgets::open(path.clone(), &Connections::default()).unwrap();
            Self { _folder: folder, path, live }
        }

        fn write(&self, text: &str) {
            std::fs::write(&self.path, text).unwrap();
        }

        /// One look, and how many budgets are in force after it.
        fn look(&self, anyway: bool) -> Result<usize, Problems> {
            self.live.refresh(&Connections::default(), anyway)?;
            Ok(self.in_force())
        }

        fn in_force(&self) -> usize {
            self.live.load().rules().len()
        }
    }

    #[test]
    fn budgets_are_read_once_their_file_has_settled() {
        let budgets = Followed::new();
        let two = BUDGET.repeat(2);
        budgets.write("budget = []");
        assert_eq!(budgets.look(false).unwrap(), 1, "that may be the half of it");
        budgets.write(&two);
        assert_eq!(budgets.look(false).unwrap(), 1);
        assert_eq!(budgets.look(false).unwrap(), 2);
        budgets.write("budget = []");
        assert_eq!(budgets.look(true).unwrap(), 2, "not even if the connections have changed");
        budgets.write(BUDGET);
        assert_eq!(budgets.look(false).unwrap(), 2);
        assert_eq!(budgets.look(false).unwrap(), 1);
    }

    #[test]
    fn an_emptied_or_vanished_file_lifts_no_limit_and_is_told_once() {
        let budgets = Followed::new();
        for text in ["", "# none\n"] {
            budgets.write(text);
            assert_eq!(budgets.look(false).unwrap(), 1);
            assert!(budgets.look(false).unwrap_err().to_string().contains("budget = []"), "{text:?}");
            assert_eq!((budgets.in_force(), budgets.look(false).unwrap()), (1, 1));
        }
        std::fs::remove_file(&budgets.path).unwrap();
        assert_eq!(budgets.look(false).unwrap(), 1);
        assert!(budgets.look(false).is_err());
        assert_eq!((budgets.in_force(), budgets.look(false).unwrap()), (1, 1));

        budgets.write("budget = []\n");
        assert_eq!((budgets.look(false).unwrap(), budgets.look(false).unwrap()), (1, 0));
        // At a start, a file that isn't there holds no budgets.
        std::fs::remove_file(&budgets.path).unwrap();
        let none = LiveBudgets::open(budgets.path.clone(), &Connections::default()).unwrap();
        assert!(none.load().rules().is_empty());
    }

    #[test]
    fn fixed_budgets_stay() {
        let fixed =
            LiveBudgets::from(Budgets::parse(BUDGET, "budgets.toml", &Connections::default()).unwrap());
        assert!(!fixed.refresh(&Connections::default(), true).unwrap());
        assert_eq!(fixed.load().rules().len(), 1);
    }
}
