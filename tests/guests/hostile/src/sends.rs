//! Requests, as crooked as the arguments want them.

use keybearer_guest::__private::bindings::keybearer::tool::credentialed_http::{self as http, Body, RawBody};

use crate::{Arguments, Outcome};

/// Sends one request and tells all that came of it.
pub fn send(arguments: &Arguments) -> Outcome {
    match http::send(&request(arguments)) {
        Ok(reply) => Outcome {
            text: Some(String::from_utf8_lossy(&reply.body).into_owned()),
            status: Some(reply.status.into()),
            headers: Some(
                reply.headers.into_iter().map(|(name, value)| format!("{name}: {value}")).collect(),
            ),
            ..Outcome::default()
        },
        Err(failure) => Outcome {
            text: Some(failure.message),
            reason: Some(format!("{:?}", failure.reason)),
            sent: Some(format!("{:?}", failure.request_sent)),
            ..Outcome::default()
        },
    }
}

/// Sends many times; tells how many replies came, and of the last failure.
pub fn send_many(arguments: &Arguments, times: usize) -> Outcome {
    let mut outcome = Outcome::number(0);
    let mut replies = 0;
    for _ in 0..times {
        let one = send(arguments);
        if one.status.is_some() {
            replies += 1;
        } else {
            outcome = one;
        }
    }
    Outcome { number: Some(replies), ..outcome }
}

fn request(arguments: &Arguments) -> http::Request {
    let Arguments { text, json, form, content_type, .. } = arguments;
    let body = match (json, form, content_type) {
        (Some(json), ..) => Some(Body::Json(json.clone())),
        (_, Some(form), _) => Some(Body::Form(pairs(form, '='))),
        (.., Some(content_type)) => Some(Body::Bytes(RawBody {
            content_type: content_type.clone(),
            data: text.clone().unwrap_or_default().into_bytes(),
        })),
        _ => None,
    };
    http::Request {
        connection: arguments.connection.clone().unwrap_or_else(|| "stripe".to_owned()),
        method: arguments.method.clone().unwrap_or_else(|| "GET".to_owned()),
        path: arguments.path.clone().unwrap_or_else(|| "/v1/invoices/in_1".to_owned()),
        query: pairs(arguments.query.as_deref().unwrap_or_default(), '='),
        headers: pairs(arguments.headers.as_deref().unwrap_or_default(), ':'),
        body,
    }
}

fn pairs(texts: &[String], separator: char) -> Vec<(String, String)> {
    let pair = |text: &String| {
        let (name, value) = text.split_once(separator).unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    };
    texts.iter().map(pair).collect()
}
