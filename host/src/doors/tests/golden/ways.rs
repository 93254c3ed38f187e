//! The doors that a row is put to, and what they said.

use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::ask::{Ask, Question};
use super::guest;
use super::row::Way;
use super::world::World;
use crate::catalog::SANDBOX_TOOL;
use crate::ids::ApprovalId;

/// What a door said.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// `None`: it was allowed.
    pub(super) code: Option<String>,
    /// All that the agent got to read.
    pub(super) text: String,
}

impl Said {
    /// The approval that it names.
    pub(super) fn approval(&self) -> Option<ApprovalId> {
        let from = self.text.find("apr_")?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        self.text[from..].split(|c| !plain(c)).next()?.parse().ok()
    }
}

impl World {
    /// Asks at a door.
    pub(super) async fn ask(&self, way: Way, who: &str, ask: &Ask, approval: Option<&str>) -> Said {
        match way {
            Way::Tool => {
                let arguments = guest::arguments(&ask.draft);
                let request = self.request(ask, who, approval).method(Method::POST);
                let request = request.uri(format!("/v1/tools/{}", guest::TOOL));
                self.send(request.body(Body::from(arguments)).unwrap()).await
            }
            Way::Mcp => {
                let arguments = guest::arguments(&ask.draft);
                self.call_tool(guest::TOOL, &arguments, self.request(ask, who, approval)).await
            }
            Way::Code => {
                let blocks = json!([{ "language": "python", "code": guest::text(&ask.draft) }]);
                let request = self.request(ask, who, approval).method(Method::POST).uri("/v1/code");
                let body = json!({ "blocks": blocks }).to_string();
                self.run(request.body(Body::from(body)).unwrap()).await
            }
            Way::CodeTool => {
                let arguments = guest::code_arguments(&ask.draft);
                let request = self.request(ask, who, approval).method(Method::POST);
                let request = request.uri(format!("/v1/tools/{SANDBOX_TOOL}"));
                self.send(request.body(Body::from(arguments)).unwrap()).await
            }
            Way::CodeMcp => {
                let arguments = guest::code_arguments(&ask.draft);
                self.call_tool(SANDBOX_TOOL, &arguments, self.request(ask, who, approval)).await
            }
            Way::Proxy => {
                let (target, body) = ask.on_wire();
                let mut request = self.request(ask, who, approval).method(&*ask.draft.method).uri(target);
                for (name, value) in &ask.draft.headers {
                    request = request.header(name, value);
                }
                let bytes = body.map_or_else(Vec::new, |(content_type, bytes)| {
                    request.headers_mut().unwrap().insert("content-type", content_type.parse().unwrap());
                    bytes
                });
                self.send(request.body(Body::from(bytes)).unwrap()).await
            }
            Way::Enforce => self.enforce(who, ask, approval).await,
            Way::Http => unreachable!("asked with `http`"),
        }
    }

    /// Asks at any other route: `POST /v1/tokens {…}`.
    pub(super) async fn http(&self, who: &str, words: &str) -> Said {
        let mut words = words.splitn(3, ' ');
        let (method, path) = (words.next().unwrap(), words.next().unwrap());
        let request = Request::builder().method(method).uri(path);
        let request = request.header("authorization", format!("Bearer {}", self.token(who)));
        self.send(request.body(Body::from(words.next().unwrap_or("").to_owned())).unwrap()).await
    }

    fn request(&self, ask: &Ask, who: &str, approval: Option<&str>) -> http::request::Builder {
        let mut request = Request::builder().header("authorization", format!("Bearer {}", self.token(who)));
        for (name, value) in &ask.says {
            let name = match name.as_str() {
                "deadline" => "keybearer-deadline-ms".to_owned(),
                name => format!("keybearer-{name}"),
            };
            request = request.header(name, value);
        }
        match approval {
            Some(id) => request.header("keybearer-approval", id),
            None => request,
        }
    }

    async fn call_tool(&self, tool: &str, arguments: &str, request: http::request::Builder) -> Said {
        let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
        let body = format!(r#"{{"method":"tools/call","params":{params},"jsonrpc":"2.0","id":1}}"#);
        let request = request.method(Method::POST).uri("/mcp");
        self.call(request.body(Body::from(body)).unwrap()).await
    }

    /// Calls over the Model Context Protocol: what the model gets to read says whether it was refused, and why.
    async fn call(&self, request: Request<Body>) -> Said {
        let (head, text) = self.exchange(request).await;
        assert_eq!(head.status, http::StatusCode::OK, "{text}");
        let message: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(message["id"], 1, "{text}");
        let text = message["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{text}"));
        let code = text.strip_prefix("The call failed (").and_then(|text| text.split(')').next());
        assert_eq!(message["result"]["isError"], code.is_some(), "{message:#}");
        Said { code: code.map(str::to_owned), text: text.to_owned() }
    }

    /// Runs code. What the host stops comes to an exit code.
    async fn run(&self, request: Request<Body>) -> Said {
        let said = self.send(request).await;
        if said.code.is_some() {
            return said;
        }
        let answer: Value = serde_json::from_str(&said.text).unwrap();
        let code = (answer["exit_code"] != 0).then(|| format!("exit {}", answer["exit_code"]));
        Said { code, text: said.text }
    }

    async fn exchange(&self, request: Request<Body>) -> (http::response::Parts, String) {
        let (head, body) = self.routes.clone().oneshot(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head, String::from_utf8_lossy(&body).into_owned())
    }

    async fn send(&self, request: Request<Body>) -> Said {
        let (head, text) = self.exchange(request).await;
        // An upstream's own error isn't the host's.
        let is_problem = head.headers.get("content-type").is_some_and(|t| t == "application/problem+json");
        let code = is_problem.then(|| {
            let problem: Value = serde_json::from_str(&text).unwrap();
            problem["code"].as_str().unwrap().to_owned()
        });
        if code.is_none() && head.status == http::StatusCode::NOT_FOUND {
            return Said { code: Some("not_found".to_owned()), text };
        }
        Said { code, text }
    }

    /// The enforcement point's question: the platform's key says who asks, the capability token for whom.
    async fn enforce(&self, who: &str, ask: &Ask, approval: Option<&str>) -> Said {
        let Question { connection, operation, parameters } =
            ask.question.as_ref().unwrap_or_else(|| panic!("no question: {ask:?}"));
        let mut context = parameters.clone();
        for (name, value) in &ask.says {
            assert_eq!(name, "conversation", "an enforcement point can't say this");
            context[name] = Value::from(value.as_str());
        }
        let body = json!({
            "requestId": "golden",
            "capabilityToken": self.token(who),
            "action": operation,
            "resourceId": format!("connection://{connection}"),
            "context": context,
            "approvalId": approval,
        });
        let request = Request::builder().method(Method::POST).uri("/v1/enforce");
        let request = request.header("x-api-key", self.platform_key(who));
        let answer = self.send(request.body(Body::from(body.to_string())).unwrap()).await;
        assert_eq!(answer.code, None, "the question itself was refused: {answer:?}");
        let said: Value = serde_json::from_str(&answer.text).unwrap();
        let code = said["reason"].as_str().map(str::to_owned);
        assert_eq!(said["decision"] == "allowed", code.is_none(), "{said:#}");
        assert_eq!(said["decision"] == "approval_required", code.as_deref() == Some("approval_required"));
        Said { code, text: answer.text }
    }
}
