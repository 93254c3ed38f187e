//! The names that hosts take.

/// The most characters of a name: what model providers take of a tool's, and hosts of every other.
const CHARS_MAX: usize = 64;

/// Why a field of this name can't be an argument, where it can't: agents' clients make a Python model of the schema.
pub(crate) fn no_argument(name: &str) -> Option<String> {
    let rule = if is_of_pydantic(name) {
        "AutoGen makes a pydantic model of the schema, and it's a name of pydantic's own".to_owned()
    } else if name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.len() <= CHARS_MAX
    {
        return None;
    } else {
        format!("hosts take a letter, then letters, digits and underscores, all ASCII, {CHARS_MAX} at most")
    };
    Some(format!("`{name}` can't name an argument: {rule}"))
}

/// Why a field of this name can't be in a result, where it can't.
pub(crate) fn no_result(name: &str) -> Option<String> {
    let fits = (1..=CHARS_MAX).contains(&name.len()) && name.chars().all(|c| c.is_ascii_graphic());
    (!fits).then(|| {
        format!(
            "`{name}` can't name a field of a result: hosts take 1 to {CHARS_MAX} visible ASCII characters"
        )
    })
}

/// Why a connection can't have this name, where it can't.
pub(crate) fn no_connection(name: &str) -> Option<String> {
    let belongs = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let fits = name.starts_with(belongs)
        && name.chars().all(|c| belongs(c) || matches!(c, '-' | '_'))
        && name.len() <= CHARS_MAX;
    (!fits).then(|| {
        format!(
            "`{name}` can't name a connection: hosts take a lower-case letter or a digit, then lower-case letters, digits, \
             `-` and `_`, {CHARS_MAX} characters at most"
        )
    })
}

/// Why a tool can't have this name, where it can't.
pub(crate) fn no_tool(name: &str) -> Option<String> {
    let fits = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && name.len() <= CHARS_MAX;
    (!fits).then(|| {
        format!(
            "a tool's name is a lower-case letter, then lower-case letters, digits and underscores, {CHARS_MAX} \
             characters at most"
        )
    })
}

/// A name in `snake_case`. Capitals in a row are one word: `USD` is `usd`, `HTTPError` is `http_error`.
pub(crate) fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).and_then(|before| letters.get(before));
        let begins = match before {
            Some(before) if before.is_uppercase() => {
                letters.get(index + 1).is_some_and(|next| next.is_lowercase())
            }
            Some(before) => *before != '_',
            None => false,
        };
        if letter.is_uppercase() && begins {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// Whether a pydantic model can't have a field of this name.
fn is_of_pydantic(name: &str) -> bool {
    matches!(name, "Config" | "model_config")
        || name.starts_with("model_dump")
        || name.starts_with("model_validate")
}
