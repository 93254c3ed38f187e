//! What a request asks for behind its `?`. Escapes are understood where a value may need one, and nowhere else.

use std::fmt::Display;
use std::str::FromStr;

use http::Uri;

use crate::refusal::{Code, Refusal};

/// The values of these keys, each given at most once. A key without a value has an empty one. Any other key is an error:
/// left unread, it would widen the answer.
pub(super) fn read<'u, const N: usize>(
    uri: &'u Uri,
    keys: [&str; N],
) -> Result<[Option<&'u str>; N], Refusal> {
    let mut values = [None; N];
    for pair in uri.query().unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let slot = keys.iter().position(|known| *known == key).and_then(|at| values.get_mut(at));
        let Some(slot) = slot else {
            return Err(bad(&format!("only {} can be given", keys.join(" and "))));
        };
        if slot.replace(value).is_some() {
            return Err(bad(&format!("give {key} once")));
        }
    }
    Ok(values)
}

/// A whole number from 1 to `max`, in digits alone, if it's given.
pub(super) fn number<N>(key: &str, text: Option<&str>, max: N) -> Result<Option<N>, Refusal>
where
    N: FromStr + PartialOrd + From<u8> + Display,
{
    let Some(text) = text else { return Ok(None) };
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<N>() {
        Ok(value) if digits && value >= N::from(1) && value <= max => Ok(Some(value)),
        _ => Err(bad(&format!("{key}: give a whole number from 1 to {max}"))),
    }
}

/// What a value means whose characters may be escaped, as the colons of a time are by most clients: `%3A` is a colon. A plus
/// is a plus. It's parsed by `parse`, whose error says what the value should be.
pub(super) fn parsed<T, E: Display>(
    key: &str,
    text: Option<&str>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, Refusal> {
    let Some(text) = text else { return Ok(None) };
    let meant =
        unescaped(text).ok_or_else(|| bad(&format!("{key}: after a % come two hexadecimal digits")))?;
    parse(&meant).map(Some).map_err(|error| bad(&format!("{key}: {error}")))
}

fn unescaped(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut meant = parts.next()?.to_owned();
    for part in parts {
        let (escape, rest) = part.split_at_checked(2)?;
        // No value that is valid has a character beyond ASCII.
        meant.push(char::from(*hex::decode(escape).ok()?.first()?));
        meant.push_str(rest);
    }
    Some(meant)
}

/// It can't be read, or asks for what there isn't.
pub(super) fn bad(what: &str) -> Refusal {
    Refusal::new(Code::BadRequest, format!("the query is not valid: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ConversationId;

    fn asked(uri: &str) -> Result<(Option<u32>, Option<u64>), Refusal> {
        let uri: Uri = uri.parse().unwrap();
        let [limit, before] = read(&uri, ["limit", "before"])?;
        Ok((number("limit", limit, 1_000)?, number("before", before, u64::MAX)?))
    }

    #[test]
    fn escapes_are_understood_where_a_value_may_need_one() {
        let conversation = |text| {
            let parse = |text: &str| text.parse::<ConversationId>().map_err(|error| error.rule);
            parsed("conversation", Some(text), parse).map(|name| name.unwrap().to_string())
        };
        assert_eq!(conversation("c-1@a.b:7").unwrap(), "c-1@a.b:7");
        assert_eq!(conversation("c%2D1%40a.b%3a7").unwrap(), "c-1@a.b:7");
        for bad in ["", "%", "%3", "c%zz", "c%", "c%20d", "c+d", "%C3%A9", "a%ffb", "é"] {
            let refusal = conversation(bad).unwrap_err();
            assert_eq!(refusal.code, Code::BadRequest, "{bad}");
            assert!(refusal.message.contains("conversation: "), "{bad}: {}", refusal.message);
        }
    }

    #[test]
    fn queries_are_read_strictly() {
        for none in ["/v1/audit", "/v1/audit?", "/v1/audit?&"] {
            assert_eq!(asked(none), Ok((None, None)), "{none}");
        }
        assert_eq!(asked("/?limit=1000"), Ok((Some(1_000), None)));
        assert_eq!(asked("/?before=7&limit=2"), Ok((Some(2), Some(7))));
        for bad in [
            "limit=0",
            "limit=1001",
            "limit=-1",
            "limit=+1",
            "limit=%31",
            "limit=",
            "limit",
            "limit=1&limit=1",
            "limit=1&before=7&limit=2",
            "before=0",
            "before=99999999999999999999",
            "Limit=1",
            "tenant=other",
            "limit=1&x",
        ] {
            assert_eq!(asked(&format!("/?{bad}")).unwrap_err().code, Code::BadRequest, "{bad}");
        }
    }
}
