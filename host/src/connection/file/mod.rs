//! A connection file → a checked [`Connection`], or every problem that it has.

mod operations;
pub(super) mod parameters;
mod reader;
mod reconcile;

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use toml::de::DeTable;

use self::reader::{Context, Field, Table};
use super::limits::{
    CONNECT_MS_DEFAULT, CONNECT_MS_LIMIT, REQUEST_BYTES_DEFAULT, REQUEST_BYTES_LIMIT, RESPONSE_BYTES_DEFAULT,
    RESPONSE_BYTES_LIMIT, TOTAL_MS_DEFAULT, TOTAL_MS_LIMIT,
};
use super::{Attach, BaseUrl, CaBundle, Connection, ErrorProfile, Problem, SecretOf};
use crate::egress::{credential_shape, header_value, is_reserved, may_be_allowed, new_label};
use crate::ids::SecretLabel;

/// The headers that a guest may give where the file says nothing: what the reply is to look like, and what makes a
/// request conditional or safe to repeat.
const REQUEST_HEADERS_DEFAULT: &[&str] = &[
    "accept",
    "accept-language",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
];

/// The headers of a reply that a guest always sees, whatever else the file lists.
const RESPONSE_HEADERS_ALWAYS: &[&str] = &["content-type", "etag", "last-modified", "retry-after"];

/// Headers of a reply that no file can let through: they set state, frame the reply as it no longer is, or speak of
/// the connection that only the host has.
const RESPONSE_HEADERS_NEVER: &[&str] = &[
    "alt-svc",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A file, read.
pub(super) struct Source {
    /// Its name, without folders.
    pub(super) name: String,
    /// The folder that other files are named from.
    pub(super) dir: PathBuf,
    /// What it says.
    pub(super) text: String,
}

/// Checks a file.
pub(super) fn connection(source: &Source) -> Result<Connection, Vec<Problem>> {
    let context = Context::new(&source.name, &source.text);
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    for error in &errors {
        context.problem(&error.span().unwrap_or(0..0), "", error.message(), None);
    }
    // After a slip of grammar the rest would be reported as missing or unknown: noise.
    if !errors.is_empty() {
        return Err(context.into_problems());
    }
    let found = read(&context, Table::top(&context, &document), source);
    match (found, context.into_problems()) {
        (Some(connection), problems) if problems.is_empty() => Ok(connection),
        (_, problems) => Err(problems),
    }
}

fn read(context: &Context<'_>, mut top: Table<'_, '_>, source: &Source) -> Option<Connection> {
    let stem = source.name.strip_suffix(".toml").unwrap_or(&source.name);
    let name =
        stem.parse().map_err(|error| context.problem(&(0..0), "", format!("the file's name: {error}"), None));

    let insecure = top.optional("allow_insecure_loopback").and_then(|f| f.boolean()).unwrap_or(false);
    let allow_private: Vec<IpNet> =
        top.optional("allow_private").and_then(|f| f.list(private_range)).unwrap_or_default();
    let base = top
        .required("base_url", "write base_url = \"https://api.example.com\"")
        .and_then(|f| f.ok(BaseUrl::parse(f.string()?, insecure, &allow_private)));
    let secret = top
        .required("secret", "write secret = \"LABEL\": the secret's label in the vault")
        .and_then(|f| secret_label(&f));
    let secret_of = top.optional("secret_of").and_then(|f| secret_of(&f)).unwrap_or_default();
    let attach = top.required("attach", "write attach = { kind = \"bearer\" }").and_then(|f| attach(&f));
    let ca = top.optional("ca_file").map(|f| f.ok(CaBundle::read(&source.dir.join(f.string()?))));
    let constant_headers = top.optional("headers").map(|f| constant_headers(&f, attach.as_ref()));
    let constant_headers = constant_headers.unwrap_or_default();
    let request_headers = top.optional("request_headers").and_then(|f| {
        f.list(|name| {
            let name = header_name(name)?;
            let by_host = attach.as_ref().and_then(Attach::header_name) == Some(name.as_str())
                || constant_headers.iter().any(|(constant, _)| constant.as_str() == name);
            if by_host || is_reserved(&name) {
                return Err(format!("{name} is written by the host alone"));
            }
            Ok(name)
        })
    });
    let response_headers = top.optional("response_headers").and_then(|f| {
        f.list(|name| {
            let name = header_name(name)?;
            match RESPONSE_HEADERS_NEVER.contains(&name.as_str()) {
                true => Err(format!("{name} is never handed to a tool")),
                false => Ok(name),
            }
        })
    });
    let idempotency_header = top.optional("idempotency_header").map(|f| {
        let name = f.ok(header_name(f.string()?))?;
        if is_reserved(&name) || attach.as_ref().and_then(Attach::header_name) == Some(name.as_str()) {
            f.problem(format!("{name} can't carry an idempotency key"));
        }
        f.ok(name.parse::<HeaderName>())
    });
    let error_profile = top.optional("error_profile").and_then(|f| error_profile(&f)).unwrap_or_default();
    let (connect_ms, total_ms) = timeouts(top.optional("timeouts"));
    let (request_bytes_max, response_bytes_max) = sizes(top.optional("limits"));
    let tenants = top.optional("tenants").and_then(|f| some(&f, f.list(str::parse)));
    let environments = top.optional("environments").and_then(|f| some(&f, f.list(str::parse)));
    let operations = top
        .required("operations", "add at least one [operations.NAME] table")
        .map(|f| (operations::operations(&f), f));
    top.finish();

    let ((operations, reconciles), operations_field) = operations?;
    let attach = attach?;
    if let Some(query) = attach.query_name() {
        for operation in
            operations.iter().filter(|o| o.query_parameters.keys().any(|n| parameters::stem(n) == query))
        {
            operations_field
                .problem(format!("{} declares query.{query}, which carries the secret", operation.name));
        }
    }
    Some(Connection {
        name: name.ok()?,
        base: base?,
        secret: secret?,
        secret_of,
        attach,
        ca: match ca {
            Some(read) => Some(read?),
            None => None,
        },
        constant_headers,
        request_headers: request_headers.unwrap_or_else(|| owned(REQUEST_HEADERS_DEFAULT)),
        response_headers: [owned(RESPONSE_HEADERS_ALWAYS), response_headers.unwrap_or_default()].concat(),
        connect_max: Duration::from_millis(connect_ms),
        total_max: Duration::from_millis(total_ms),
        request_bytes_max,
        response_bytes_max,
        allow_private,
        allow_insecure_loopback: insecure,
        tenants,
        environments,
        idempotency_header: idempotency_header.flatten(),
        error_profile,
        operations,
        reconciles,
    })
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A filter that lets nobody through is a slip.
fn some<T>(field: &Field<'_, '_>, list: Option<Vec<T>>) -> Option<Vec<T>> {
    if list.as_ref().is_some_and(Vec::is_empty) && field.array().is_some_and(|items| items.is_empty()) {
        field.problem_hint("lets nobody use the connection", "leave the key out to let all use it");
    }
    list
}

fn private_range(text: &str) -> Result<IpNet, String> {
    let range: IpNet = text.parse().map_err(|_| format!("{text:?} isn't a range, as in 10.1.0.0/16"))?;
    if !may_be_allowed(&range) {
        return Err(format!(
            "{text} isn't inside a private range: 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, \
             127.0.0.0/8, fc00::/7 or ::1/128"
        ));
    }
    Ok(range.trunc())
}

/// What isn't a label may be the secret itself, and isn't repeated.
fn secret_label(field: &Field<'_, '_>) -> Option<SecretLabel> {
    let label = new_label(field.string()?);
    let hint = "write the secret's label; `keybearer vault set LABEL` takes the secret itself";
    label.map_err(|why| field.problem_hint(why, hint)).ok()
}

/// A string that is written into requests as it stands here, in clear.
fn clear<'c>(field: &Field<'c, '_>) -> Option<&'c str> {
    let text = field.string()?;
    if credential_shape(text.as_bytes()).is_some() {
        field.problem_hint(
            "looks like a credential, and this file is in clear",
            "keep it in the vault: `secret` names it there, and `attach` says where it goes",
        );
    }
    Some(text)
}

fn attach(field: &Field<'_, '_>) -> Option<Attach> {
    let mut table = field.table()?;
    let kind = table.required("kind", "write kind = \"bearer\", \"basic\", \"header\" or \"query\"")?;
    let attach = match kind.string()? {
        "bearer" => Some(Attach::Bearer),
        "basic" => {
            let user = table.optional("user").and_then(|f| {
                let user = clear(&f)?;
                if user.is_empty() || user.contains(':') || user.chars().any(char::is_control) {
                    f.problem("a user name isn't empty and holds no ':' and no control character");
                }
                Some(user.to_owned())
            });
            Some(Attach::Basic { user })
        }
        "header" => {
            let name = table.required("name", "write name = \"x-api-key\"").and_then(|f| {
                let name = f.ok(header_name(f.string()?))?;
                // The one reserved name that a secret may travel under.
                if name != "authorization" && is_reserved(&name) {
                    f.problem(format!("{name} can't carry a secret"));
                }
                Some(name)
            });
            let prefix = table.optional("prefix").and_then(|f| {
                let prefix = clear(&f)?;
                f.ok(header_value("prefix", prefix.trim_end()))?;
                Some(prefix.to_owned())
            });
            name.map(|name| Attach::Header { name, prefix: prefix.unwrap_or_default() })
        }
        "query" => {
            let name = table.required("name", "write name = \"api_key\"").and_then(|f| {
                let name = f.string()?;
                let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                if name.is_empty() || !name.bytes().all(plain) {
                    f.problem("a query parameter's name is letters, digits, '_' and '-'");
                }
                Some(name.to_owned())
            });
            name.map(|name| Attach::Query { name })
        }
        // It isn't repeated: a secret may have slipped in.
        _ => {
            kind.problem_hint("unknown kind", "use bearer, basic, header or query");
            return None;
        }
    };
    table.finish();
    attach
}

fn constant_headers(field: &Field<'_, '_>, attach: Option<&Attach>) -> Vec<(HeaderName, HeaderValue)> {
    let Some(table) = field.table() else { return Vec::new() };
    let read = |field: &Field<'_, '_>| {
        let name = field.ok(header_name(&field.name))?;
        if is_reserved(&name) || attach.and_then(Attach::header_name) == Some(name.as_str()) {
            field.problem(format!("{name} can't be a constant header"));
            return None;
        }
        let value = field.ok(header_value(&name, clear(field)?))?;
        Some((field.ok(name.parse::<HeaderName>())?, value))
    };
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for field in &table.fields() {
        let Some((name, value)) = read(field) else { continue };
        if headers.iter().any(|(other, _)| *other == name) {
            field.problem(format!("{name} is there twice, in two spellings"));
        }
        headers.push((name, value));
    }
    headers
}

fn error_profile(field: &Field<'_, '_>) -> Option<ErrorProfile> {
    match field.string()? {
        "problem" => Some(ErrorProfile::Problem),
        "stripe" => Some(ErrorProfile::Stripe),
        other => {
            field.problem_hint(format!("unknown error profile {other:?}"), "use problem or stripe");
            None
        }
    }
}

fn secret_of(field: &Field<'_, '_>) -> Option<SecretOf> {
    match field.string()? {
        "operator" => Some(SecretOf::Operator),
        "user" => Some(SecretOf::User),
        other => {
            field.problem_hint(format!("nobody is {other:?}"), "use operator or user");
            None
        }
    }
}

fn header_name(text: &str) -> Result<String, String> {
    let name =
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("{text:?} isn't a header's name"))?;
    Ok(name.as_str().to_owned())
}

fn timeouts(field: Option<Field<'_, '_>>) -> (u64, u64) {
    let Some(mut table) = field.and_then(|f| f.table()) else {
        return (CONNECT_MS_DEFAULT, TOTAL_MS_DEFAULT);
    };
    let connect = table.optional("connect_ms_max").and_then(|f| f.within(1, CONNECT_MS_LIMIT));
    let total = table.optional("total_ms_max").and_then(|f| f.within(1, TOTAL_MS_LIMIT));
    table.finish();
    (connect.unwrap_or(CONNECT_MS_DEFAULT), total.unwrap_or(TOTAL_MS_DEFAULT))
}

fn sizes(field: Option<Field<'_, '_>>) -> (usize, usize) {
    let Some(mut table) = field.and_then(|f| f.table()) else {
        return (REQUEST_BYTES_DEFAULT, RESPONSE_BYTES_DEFAULT);
    };
    let mut size = |key: &'static str, default: usize, limit: usize| {
        let value = table.optional(key).and_then(|f| f.within(1, limit as u64));
        value.and_then(|value| usize::try_from(value).ok()).unwrap_or(default)
    };
    let request = size("request_bytes_max", REQUEST_BYTES_DEFAULT, REQUEST_BYTES_LIMIT);
    let response = size("response_bytes_max", RESPONSE_BYTES_DEFAULT, RESPONSE_BYTES_LIMIT);
    table.finish();
    (request, response)
}

/// The folder that a file stands in.
pub(super) fn folder(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}
