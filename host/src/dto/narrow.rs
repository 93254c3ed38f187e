//! Results that an agent may see.

use std::sync::Arc;

use bytes::Bytes;

use crate::dto::schema::OutputSchema;
use crate::dto::violation;
use crate::egress::Sweep;
use crate::ids::Digest;
use crate::json::{self, JsonError};
use crate::refusal::{Code, Refusal};

/// The most bytes of a result. It ends up in a model's context: a mebibyte is more than most can read.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;

/// A tool's result, as canonical JSON: all that an agent ever sees of a call that went well.
///
/// INVARIANT (narrow): made only by [`Narrow::new`], so it passes the tool's closed output schema and holds no form
/// of a secret that this call injected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrow {
    json: Bytes,
}

impl Narrow {
    /// Checks what a tool returned, against its schema and every sweep of the call.
    ///
    /// A member that the schema doesn't name is an error, not dropped: a result that isn't what the tool promises
    /// means that the tool is broken, and a silent repair would hide it.
    ///
    /// # Errors
    /// [`DtoError`]; its text is for the log.
    pub fn new(output: &str, schema: &OutputSchema, sweeps: &[Arc<Sweep>]) -> Result<Self, DtoError> {
        let mut value = json::parse(output.as_bytes(), RESULT_BYTES_MAX)?;
        schema.drop_nulls(&mut value);
        let json = json::text(&value);
        // What would leave is what is swept, its escapes resolved (`\u0073k_live`). Before the schema is looked at:
        // names that fail it are repeated in the log.
        if sweeps.iter().any(|sweep| sweep.finds(json.as_bytes())) {
            return Err(DtoError::Leak);
        }
        if !schema.is_valid(&value) {
            return Err(DtoError::Schema(violation::sentences(
                "member",
                "the result",
                schema.errors(&value),
            )));
        }
        Ok(Self { json: json.into() })
    }

    /// The canonical JSON text.
    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.json
    }

    /// Its digest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.json)
    }

    /// The canonical JSON text, to be sent.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.json
    }
}

/// Why a result may not be shown. The text is for the log, not for an agent: it may repeat names that the tool made
/// up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DtoError {
    /// Not acceptable JSON.
    #[error("the tool's result can't be read: {0}")]
    Json(#[from] JsonError),
    /// Not what the output schema promises.
    #[error("the tool's result breaks its output schema: {0}")]
    Schema(String),
    /// A secret is in it.
    #[error("the tool's result holds a secret of this call")]
    Leak,
}

impl DtoError {
    /// What the agent is told: nothing of what the tool returned.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Json(_) | Self::Schema(_) => Refusal::new(
                Code::InvalidOutput,
                "the tool returned something other than its output schema promises, so it is withheld; \
                 its operator can see why",
            ),
            Self::Leak => {
                Refusal::new(Code::LeakBlocked, "the tool's result held a secret, so it is withheld")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::egress::Canary;

    fn narrow(output: &str) -> Result<String, DtoError> {
        let schema = OutputSchema::parse(
            r#"{"type": "object", "additionalProperties": false, "required": ["id", "paid_at"],
                "properties": {
                    "id": {"type": "string"},
                    "paid_at": {"type": ["integer", "null"]},
                    "note": {"type": "string"}
                }}"#,
        )
        .unwrap();
        Narrow::new(output, &schema, &[]).map(|n| String::from_utf8(n.into_bytes().to_vec()).unwrap())
    }

    #[test]
    fn results_come_out_canonical() {
        assert_eq!(narrow(r#"{ "paid_at": 1e3, "id": "a" }"#).unwrap(), r#"{"id":"a","paid_at":1000}"#);
    }

    #[test]
    fn null_stays_where_the_schema_allows_it() {
        let out = narrow(r#"{"id":"a","paid_at":null,"note":null}"#).unwrap();
        assert_eq!(out, r#"{"id":"a","paid_at":null}"#);
    }

    #[test]
    fn what_the_schema_does_not_promise_is_refused() {
        for (bad, why) in [
            (r#"{"id":"a","paid_at":1,"email":"x"}"#, "member `email` is not known"),
            (r#"{"id":1,"paid_at":1}"#, "member `id` must be a string"),
            (r#"{"id":"a"}"#, "member `paid_at` is missing"),
            ("[]", "the result must be an object, got array"),
            ("", "not valid JSON"),
            (r#"{"id":"a","paid_at":1,"id":"b"}"#, "appears twice"),
        ] {
            let error = narrow(bad).expect_err(bad).to_string();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        let schema =
            r#"{"type": "object", "additionalProperties": false, "properties": {"id": {"type": "string"}}}"#;
        let schema = OutputSchema::parse(schema).unwrap();
        let canary = Canary::fresh();
        let secret = canary.as_str();
        let escape = |c: char| format!("\\u{:04x}", c as u32);
        let escaped: String = secret.chars().map(escape).collect();
        let mixed: String =
            secret.chars().enumerate().map(|(i, c)| if i % 3 == 0 { escape(c) } else { c.into() }).collect();
        let reversed: String = secret.chars().rev().collect();
        let (hex, refused) = (hex::encode(secret), format!(r#"{{"id":"a","{secret}":1}}"#));
        for text in [secret, &escaped, &mixed, &reversed, &hex, &format!("id={secret}.")] {
            let output = format!(r#"{{"id":"{text}"}}"#);
            let result = Narrow::new(&output, &schema, &[canary.sweep().clone()]);
            assert_eq!(result, Err(DtoError::Leak), "{output}");
        }
        // As a name that the schema refuses: it isn't repeated in the error.
        let result =
            Narrow::new(&refused, &schema, &[Canary::fresh().sweep().clone(), canary.sweep().clone()]);
        assert_eq!(result, Err(DtoError::Leak));
        assert_eq!(DtoError::Leak.refusal().code, Code::LeakBlocked);
        assert!(Narrow::new(r#"{"id":"a"}"#, &schema, &[canary.sweep().clone()]).is_ok());
    }
}
