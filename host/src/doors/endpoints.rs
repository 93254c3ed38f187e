//! `POST /v1/charges`, `/v1/customers/*` → the operations of a connection that these are.

use http::Method;

use crate::connection::{Connection, Operation, Segment};
use crate::ids::OperationName;

/// The operations that endpoints name, in the connection's order.
///
/// An endpoint is a path as the operations of the connection write it, with a method before it if it's for that one
/// alone. `*` as a segment stands for one segment; as the last one, for one or more.
///
/// # Errors
/// A sentence, when an endpoint is malformed or names none of the operations: what was meant to be allowed can't be.
pub(super) fn operations(
    connection: &Connection,
    endpoints: &[String],
) -> Result<Vec<OperationName>, String> {
    let mut named = vec![false; connection.operations.len()];
    for endpoint in endpoints {
        let parsed = Endpoint::parse(endpoint)?;
        let mut any = false;
        for (named, operation) in named.iter_mut().zip(&connection.operations) {
            if parsed.names(operation) {
                (*named, any) = (true, true);
            }
        }
        if !any {
            return Err(format!(
                "the endpoint {} is none of the operations of {}; an endpoint with a parameter is written with '*' in \
                 its place",
                shown(endpoint),
                connection.name
            ));
        }
    }
    let operations = connection.operations.iter().zip(named);
    Ok(operations.filter(|(_, named)| *named).map(|(operation, _)| operation.name.clone()).collect())
}

struct Endpoint<'e> {
    method: Option<Method>,
    segments: Vec<&'e str>,
}

impl<'e> Endpoint<'e> {
    fn parse(text: &'e str) -> Result<Self, String> {
        let malformed = || {
            format!("{} is no endpoint: write it as \"POST /v1/charges\" or \"/v1/customers/*\"", shown(text))
        };
        let (method, path) = match text.split_once(' ') {
            None => (None, text),
            Some((method, path)) => {
                let upper = !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase());
                let method = method.parse().ok().filter(|_| upper).ok_or_else(malformed)?;
                (Some(method), path)
            }
        };
        let below = path.strip_prefix('/').ok_or_else(malformed)?;
        let segments: Vec<_> = below.split('/').collect();
        // A star stands for a whole segment: `/v1/cus*` would look like a rule and be none.
        let whole = segments.iter().all(|segment| *segment == "*" || !segment.contains('*'));
        let plain = path.bytes().all(|b| b.is_ascii_graphic() && !b"?#%\\{}".contains(&b));
        if whole && plain { Ok(Self { method, segments }) } else { Err(malformed()) }
    }

    fn names(&self, operation: &Operation) -> bool {
        if self.method.as_ref().is_some_and(|method| *method != operation.method) {
            return false;
        }
        let template = operation.path.segments();
        let same_length = self.segments.len() == template.len();
        let open_end = self.segments.last() == Some(&"*") && template.len() > self.segments.len();
        (same_length || open_end)
            && self.segments.iter().zip(template).all(|(wanted, segment)| match segment {
                // A parameter can be granted as a whole only: which values it may have is for a policy to say.
                Segment::Parameter(_) => *wanted == "*",
                Segment::Literal(text) => *wanted == "*" || *wanted == text.as_str(),
            })
    }
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(80).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connections;

    const STRIPE: &str = r#"
base_url = "https://api.example.com"
secret = "key"
attach = { kind = "bearer" }
[operations.create_charge]
request = "POST /v1/charges"
effect = "write"
[operations.list_charges]
request = "GET /v1/charges"
effect = "read"
[operations.get_customer]
request = "GET /v1/customers/{customer}"
effect = "read"
path.customer = { type = "string" }
[operations.list_sources]
request = "GET /v1/customers/{customer}/sources"
effect = "read"
path.customer = { type = "string" }
[operations.list_customers]
request = "GET /v1/customers"
effect = "read"
"#;

    fn named(endpoints: &[&str]) -> Result<Vec<String>, String> {
        let stripe = Connections::parse(&[("stripe.toml", STRIPE)]).unwrap().named("stripe").unwrap();
        let endpoints: Vec<_> = endpoints.iter().map(|&endpoint| endpoint.to_owned()).collect();
        let mut names: Vec<_> = operations(&stripe, &endpoints)?.iter().map(ToString::to_string).collect();
        names.sort();
        Ok(names)
    }

    #[test]
    fn endpoints_name_the_operations_that_they_are() {
        for (endpoints, names) in [
            (&["POST /v1/charges"][..], &["create_charge"][..]),
            (&["/v1/charges"], &["create_charge", "list_charges"]),
            (&["/v1/customers/*"], &["get_customer", "list_sources"]),
            (&["GET /v1/customers/*/sources"], &["list_sources"]),
            (&["/v1/customers"], &["list_customers"]),
            (&["/v1/customers", "GET /v1/charges"], &["list_charges", "list_customers"]),
            (&["/*"], &["create_charge", "get_customer", "list_charges", "list_customers", "list_sources"]),
            (&[], &[]),
        ] {
            assert_eq!(named(endpoints).unwrap(), names, "{endpoints:?}");
        }
    }

    #[test]
    fn an_endpoint_that_names_nothing_is_an_error() {
        for endpoint in [
            "/v1/subscriptions",
            "DELETE /v1/charges",
            "/v1/charge",
            "/v1/charges/",
            "/v1",
            "/v1/customers/cus_1",
            "GET /v1/charges/*",
            "/V1/charges",
        ] {
            let error = named(&["/v1/charges", endpoint]).unwrap_err();
            assert!(error.contains("none of the operations of stripe"), "{error}");
        }
        for endpoint in [
            "",
            "v1/charges",
            "POST",
            "POST v1/charges",
            "post /v1/charges",
            "POST  /v1/charges",
            "/v1/ch*",
            "*",
            "/v1/charges?limit=1",
            "/v1/%63harges",
            "/v1/{x}",
            "https://api.example.com/v1/charges",
            "/v1/a\nb",
            " /v1",
        ] {
            let error = named(&[endpoint]).unwrap_err();
            assert!(error.contains("is no endpoint"), "{endpoint:?}: {error}");
        }
    }
}
