//! A tool that computes and sends nothing: it imports `log` alone, and declares no connection.

use keybearer_guest::prelude::*;

/// The text to count in.
#[derive(Args)]
struct WordCount {
    /// The text.
    #[arg(max_len = 200000)]
    text: String,
}

/// How long a text is.
#[derive(Debug, PartialEq, Output)]
struct Counts {
    /// Words: runs of anything but white space.
    words: u64,
    /// Characters, white space included.
    characters: u64,
    /// Lines; a last line without an end counts too.
    lines: u64,
}

/// Counts the words, characters and lines of a text exactly. Use it in place of counting yourself.
#[tool]
fn word_count(args: WordCount) -> Result<Counts> {
    let text = args.text.as_str();
    Ok(Counts {
        words: count(text.split_whitespace()),
        characters: count(text.chars()),
        lines: count(text.lines()),
    })
}

fn count(items: impl Iterator) -> u64 {
    items.map(|_| 1).sum()
}

keybearer_guest::export!(word_count);

#[cfg(test)]
mod tests {
    use keybearer_guest::testing;

    use super::*;

    #[test]
    fn counts() {
        let counts = |text: &str| {
            let Counts { words, characters, lines } = word_count(WordCount { text: text.into() }).unwrap();
            (words, characters, lines)
        };
        assert_eq!(counts(""), (0, 0, 0));
        assert_eq!(counts("  one two\u{a0}three\n\nfour"), (4, 21, 3));
        assert_eq!(counts("日本語\r\n"), (1, 5, 1));
    }

    #[test]
    fn arguments_are_closed() {
        let error = testing::call::<word_count>(r#"{"text": "", "other": 1}"#).unwrap_err();
        assert_eq!(error.message(), "`other`: there's no such field");
    }
}
