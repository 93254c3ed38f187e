//! Why a home can't be used.

use std::path::Path;

/// Why a home can't be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// No folder was named and none can be derived.
    #[error("no home is named: give --home DIR or set KEYBEARER_HOME")]
    Unnamed,
    /// It isn't there, or isn't a home.
    #[error("{0} is not a Keybearer home: run `keybearer init --home {0}` to make it one")]
    NotAHome(String),
    /// It is one already.
    #[error("{0} is a Keybearer home already; nothing was changed")]
    Exists(String),
    /// A master key lies where one is to be made.
    #[error(
        "{0} is there already, and isn't of a home that was begun here; nothing was changed. Move it away, or make the \
         home in another folder"
    )]
    ForeignKey(String),
    /// A folder in which a home is to be made is this user's, and not this user's alone.
    #[error(
        "{0} is there already and isn't this user's alone, so others may have put something into it; nothing was changed. \
         Name a folder that isn't there yet, or look at what is in this one and `chmod 700 {0}`"
    )]
    NotAlone(String),
    /// It belongs to another user.
    #[error("{path} belongs to the user {owner}: run this as that user, or name another folder")]
    AnothersHome {
        /// The folder.
        path: String,
        /// That user's number.
        owner: u32,
    },
    /// Something in it belongs to another user.
    #[error(
        "{path} belongs to the user {owner}, who can put anything into it: look at what is in it, then \
         `chown {wanted} {path}`"
    )]
    AnothersPart {
        /// What it is.
        path: String,
        /// That user's number.
        owner: u32,
        /// The number of the user that the home belongs to.
        wanted: u32,
    },
    /// Others may change it, or something in it.
    #[error(
        "{path} can be changed by others (mode {mode:04o}): look at what is in it, then `chmod go-w {path}`"
    )]
    Writable {
        /// What it is.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// Another host serves from it.
    #[error("another host serves from {0}; stop it first, or use another home")]
    InUse(String),
    /// A file or folder can't be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// Which one.
        path: String,
        /// What the system said.
        cause: std::io::Error,
    },
}

/// What the system said of a path.
pub(super) fn io(path: &Path, cause: std::io::Error) -> HomeError {
    HomeError::Io { path: path.display().to_string(), cause }
}
