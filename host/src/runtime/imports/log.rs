//! `log`.

use crate::runtime::LogLevel;
use crate::runtime::bindings::keybearer::tool::log as wit;
use crate::runtime::guest::Guest;
use crate::runtime::imports::NoRights;
use crate::text::is_printable;

impl wit::Host for Guest {
    fn write(&mut self, level: wit::Level, message: String) -> wasmtime::Result<()> {
        let Some(outbound) = self.outbound.as_mut() else {
            return Err(NoRights("log.write").into());
        };
        if self.usage.log_lines >= self.limits.log_lines_max {
            self.usage.log_dropped = self.usage.log_dropped.saturating_add(1);
            return Ok(());
        }
        self.usage.log_lines += 1;
        outbound.log(level.into(), &one_line(&message, self.limits.log_line_bytes_max));
        Ok(())
    }
}

/// The message on one line of at most `bytes_max` bytes. What could forge a second line, drive a terminal or reorder
/// what is shown is escaped, as in `\n` and `\u{202e}`.
fn one_line(message: &str, bytes_max: usize) -> String {
    const CUT: &str = "…";
    let mut line = String::with_capacity(message.len().min(bytes_max));
    for char in message.chars() {
        let before = line.len();
        if is_printable(char) {
            line.push(char);
        } else {
            line.extend(char.escape_default());
        }
        if line.len() > bytes_max {
            line.truncate(before);
            while line.len() + CUT.len() > bytes_max && line.pop().is_some() {}
            line.push_str(CUT);
            break;
        }
    }
    line
}

impl From<wit::Level> for LogLevel {
    fn from(level: wit::Level) -> Self {
        match level {
            wit::Level::Debug => Self::Debug,
            wit::Level::Info => Self::Info,
            wit::Level::Warn => Self::Warn,
            wit::Level::Error => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_can_not_forge_a_line() {
        let line = one_line("ok\r\n2024 ERROR \u{1b}[31mfake\u{202e}\0\u{85}\u{2028}", 1000);
        assert_eq!(line, r"ok\r\n2024 ERROR \u{1b}[31mfake\u{202e}\u{0}\u{85}\u{2028}");
        assert_eq!(one_line("grün ✓", 1000), "grün ✓");
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        assert_eq!(one_line("abcdefgh", 8), "abcdefgh");
        assert_eq!(one_line("abcdefghi", 8), "abcde…");
        for max in 3..20 {
            for text in ["üüüüüüüüüüüüüüüü", "\n\n\n\n\n\n\n\n\n\n", "\u{10ffff}\u{10ffff}\u{10ffff}"]
            {
                let line = one_line(text, max);
                assert!(line.len() <= max, "{max} {line}");
                assert!(line == text || line.ends_with('…'));
            }
        }
    }
}
