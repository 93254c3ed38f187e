//! Paths that the host refuses: every spelling that two readers could take for two paths.

/// What some servers read as `.`, `/` or a backslash.
const LOOK_ALIKES: &str =
    "\u{2024}\u{2025}\u{2026}\u{2044}\u{2215}\u{2216}\u{29f5}\u{fe52}\u{fe68}\u{ff0e}\u{ff0f}\u{ff3c}";

/// Holds a path against the host's rules, but for its length.
///
/// # Errors
///
/// The rule that it breaks.
pub(super) fn check(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("the path must start with `/`".to_owned());
    }
    if path.contains('?') {
        return Err("the path holds `?`: query parameters are given with `.query`".to_owned());
    }
    let belongs = |c: char| c.is_ascii_graphic() && !r##""#;<>[\]^`{|}"##.contains(c);
    if let Some(c) = path.chars().find(|c| !belongs(*c)) {
        return Err(format!(
            "the path holds {c:?}: what may hold any character is given as a value for a `{{}}`"
        ));
    }
    if path.contains("//") {
        return Err("the path holds an empty segment".to_owned());
    }
    path.split('/').try_for_each(segment)
}

fn segment(encoded: &str) -> Result<(), String> {
    let segment = decoded(encoded).ok_or_else(|| format!("the path's `{encoded}` decodes to no text"))?;
    let twofold = |c: char| matches!(c, '/' | '\\' | '%') || c.is_control() || LOOK_ALIKES.contains(c);
    if let Some(c) = segment.chars().find(|c| twofold(*c)) {
        return Err(format!("the path's `{encoded}` holds {c:?}, which servers read in several ways"));
    }
    // Some servers cut a segment at a `;`.
    let before_semicolon = segment.split(';').next().unwrap_or_default();
    if matches!(before_semicolon.trim(), "." | "..") {
        return Err(format!("the path's `{encoded}` is a dot segment"));
    }
    Ok(())
}

fn decoded(segment: &str) -> Option<String> {
    let mut parts = segment.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, plain) = part.split_at_checked(2)?;
        // A number may begin with a sign, an escape may not.
        let digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(digits)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(plain.bytes());
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn what_the_host_is_tested_to_refuse_is_refused() {
        let host = include_str!("../../../host/src/egress/canonical/path.rs");
        let (_, tricks) = host.split_once("let tricks = [").unwrap();
        let (tricks, _) = tricks.split_once("];").unwrap();
        // Rust's texts are JSON's, but for the NUL and the last comma.
        let tricks = tricks.trim_end().trim_end_matches(',').replace("\\0", "\\u0000");
        let tricks: Vec<String> = serde_json::from_str(&format!("[{tricks}]")).unwrap();
        for trick in tricks {
            assert!(check(&trick).is_err(), "{trick:?} was let through");
        }
    }

    #[test]
    fn other_paths_are_not() {
        for path in [
            "/",
            "/v1/x/",
            "/v1/%69nvoices",
            "/a:b/c@d",
            "/caf%c3%a9",
            "/a%20b%3B%27",
            "/a'b",
            "/...",
            "/.git/a..b",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }
}
