//! A secret on its way in.

use std::io::{self, Read};

use zeroize::Zeroizing;

/// A secret has at least so many bytes: the leak sweep would find a shorter one everywhere.
pub const SECRET_BYTES_MIN: usize = 8;
/// A secret has at most so many bytes: it has to fit into a header.
pub const SECRET_BYTES_MAX: usize = 8192;

/// A checked secret, to be stored. No `Debug`, no `Clone`; zeroized when dropped.
pub struct SecretInput {
    bytes: Zeroizing<Vec<u8>>,
}

/// Why a text can't be a secret. Tells nothing of the text itself.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSecret {
    /// Nothing at all.
    #[error("the secret is empty; was anything piped in?")]
    Empty,
    /// Under [`SECRET_BYTES_MIN`].
    #[error(
        "a secret needs at least {SECRET_BYTES_MIN} bytes: a shorter one can't be found in replies reliably"
    )]
    TooShort,
    /// Over [`SECRET_BYTES_MAX`].
    #[error("a secret has at most {SECRET_BYTES_MAX} bytes; is this the right file?")]
    TooLong,
    /// Not text.
    #[error(
        "a secret has to be UTF-8 text; encode a binary one the way its upstream wants it, as base64 for example"
    )]
    NotText,
    /// A control character.
    #[error(
        "the secret holds a control character (a line break, a tab, …) before its end; is there more than one line?"
    )]
    Control,
    /// A space at either end.
    #[error("the secret begins or ends with a space; that is most likely a slip of copying")]
    Space,
    /// It couldn't be read.
    #[error("the secret can't be read: {0}")]
    Unreadable(#[from] io::Error),
}

impl SecretInput {
    /// Checks a secret: [`SECRET_BYTES_MIN`] to [`SECRET_BYTES_MAX`] bytes of UTF-8, no control character, no space
    /// at either end. One line break at the end is taken off first: a shell puts one there.
    ///
    /// # Errors
    /// [`InvalidSecret`] says what to change.
    pub fn new(mut bytes: Zeroizing<Vec<u8>>) -> Result<Self, InvalidSecret> {
        if bytes.ends_with(b"\n") {
            let line_break = if bytes.ends_with(b"\r\n") { 2 } else { 1 };
            let length = bytes.len() - line_break;
            bytes.truncate(length);
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| InvalidSecret::NotText);
        match bytes.len() {
            0 => return Err(InvalidSecret::Empty),
            1..SECRET_BYTES_MIN => return Err(InvalidSecret::TooShort),
            SECRET_BYTES_MIN..=SECRET_BYTES_MAX => {}
            _ => return Err(InvalidSecret::TooLong),
        }
        let text = text?;
        if text.chars().any(char::is_control) {
            return Err(InvalidSecret::Control);
        }
        if text.trim() != text {
            return Err(InvalidSecret::Space);
        }
        Ok(Self { bytes })
    }

    /// Reads a secret to the end, standard input for example, and checks it as [`SecretInput::new`] does.
    ///
    /// # Errors
    /// [`InvalidSecret`] says what to change. No more than the longest secret is read.
    pub fn read(from: impl Read) -> Result<Self, InvalidSecret> {
        // A line break may follow, and one byte more shows that it's too long. The buffer holds it all from the
        // start: growing would leave copies behind.
        let limit = SECRET_BYTES_MAX + 3;
        let mut bytes = Zeroizing::new(Vec::with_capacity(limit + 1));
        from.take(limit as u64).read_to_end(&mut bytes)?;
        Self::new(bytes)
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: impl AsRef<[u8]>) -> Result<SecretInput, InvalidSecret> {
        SecretInput::read(bytes.as_ref())
    }

    #[test]
    fn one_line_break_at_the_end_is_taken_off() {
        for text in ["sk_12345", "sk_12345\n", "sk_12345\r\n"] {
            assert_eq!(input(text).ok().unwrap().expose(), b"sk_12345");
        }
        assert!(matches!(input("sk_12345\n\n"), Err(InvalidSecret::Control)));
    }

    #[test]
    fn lengths_are_bounded_at_both_ends() {
        assert!(matches!(input(""), Err(InvalidSecret::Empty)));
        assert!(matches!(input("\n"), Err(InvalidSecret::Empty)));
        assert!(matches!(input("1234567\n"), Err(InvalidSecret::TooShort)));
        assert!(input("12345678").is_ok());
        assert!(input("x".repeat(SECRET_BYTES_MAX)).is_ok());
        assert!(input("x".repeat(SECRET_BYTES_MAX) + "\r\n").is_ok());
        for more in [1, 2, 3, 4, 100_000] {
            assert!(
                matches!(input("x".repeat(SECRET_BYTES_MAX + more)), Err(InvalidSecret::TooLong)),
                "{more}"
            );
        }
    }

    #[test]
    fn what_could_break_out_of_a_header_is_refused() {
        for bad in
            ["sk_1\r\nX-Evil: 1", "sk_1234\x005678", "sk_1234\t5678", "sk_12345\x7f", "sk_12345\u{85}6"]
        {
            assert!(matches!(input(bad), Err(InvalidSecret::Control)), "{bad:?}");
        }
        assert!(matches!(input(b"sk_12345\xff"), Err(InvalidSecret::NotText)));
        assert!(matches!(input(" sk_12345"), Err(InvalidSecret::Space)));
        assert!(matches!(input("sk_12345 \n"), Err(InvalidSecret::Space)));
        assert!(matches!(input("          "), Err(InvalidSecret::Space)));
    }
}
