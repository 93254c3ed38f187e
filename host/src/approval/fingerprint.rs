//! What exactly is approved, as one value.

use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::digested::Digested;
use crate::ids::{
    AgentId, ConnectionName, ConversationId, Digest, IntentId, InvalidName, OperationName, Realm, RoleName,
    SecretLabel, TokenId, ToolName, UserId,
};
use crate::policy::{About, Via};
use crate::store::ComponentKind;

/// Starts every fingerprint, so that no hash of another kind or version can be passed off as one.
const DOMAIN: &[u8] = b"keybearer approval fingerprint 2";

/// Starts those of an enforcement point's questions, so that a yes to one of them is none to a request, nor the other way
/// round.
const QUESTION: &[u8] = b"keybearer approval question 1";

/// Starts those of calls and of code, so that a yes to one of them is none to what it sends, nor the other way round.
const CALL: &[u8] = b"keybearer approval call 1";

/// SHA-256 over everything that an approval is bound to.
///
/// INVARIANT (bound): each part goes in with its length before it, or a mark that it isn't there; so two requests that
/// differ in any part have different fingerprints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(Digest);

/// What an approval is bound to.
#[derive(Debug, Clone, Copy)]
pub struct FingerprintParts<'a> {
    /// Tenant and environment.
    pub realm: &'a Realm,
    /// The token that asks: an approval dies with it.
    pub token: &'a TokenId,
    /// The agent that asks.
    pub agent: &'a AgentId,
    /// Its role.
    pub role: Option<&'a RoleName>,
    /// The conversation it asks in.
    pub conversation: Option<&'a ConversationId>,
    /// What it calls this intended effect.
    pub intent: Option<&'a IntentId>,
    /// The door, and the tool with the digest of its component if one drafted the request.
    pub via: &'a Via,
    /// Where the request goes.
    pub connection: &'a ConnectionName,
    /// The base URL of that: operators may change it under the same name.
    pub upstream: &'a str,
    /// The headers that the host adds there.
    pub constant_headers: &'a [(HeaderName, HeaderValue)],
    /// What it does there.
    pub operation: &'a OperationName,
    /// The digest of the canonical request: every byte of it but the secret.
    pub request: Digest,
    /// The digest of the policies that asked for the approval.
    pub policy: Digest,
    /// The label of the secret that would be attached.
    pub secret: &'a SecretLabel,
    /// The user whose own secret that is; `None` for an operator's.
    pub user: Option<&'a UserId>,
    /// Its version.
    pub secret_version: u32,
    /// How many people those policies want.
    pub quorum: u32,
}

/// What a yes to an enforcement point's question is bound to.
#[derive(Debug, Clone, Copy)]
pub struct QuestionParts<'a> {
    /// Tenant and environment.
    pub realm: &'a Realm,
    /// The capability token.
    pub token: &'a TokenId,
    /// The agent that it's for.
    pub agent: &'a AgentId,
    /// Its role.
    pub role: Option<&'a RoleName>,
    /// The conversation.
    pub conversation: Option<&'a ConversationId>,
    /// What is to be done, and with what.
    pub about: &'a About,
    /// The digest of everything that the enforcement point said of it.
    pub context: Digest,
    /// The digest of the policies that asked for the approval.
    pub policy: Digest,
    /// How many people those policies want.
    pub quorum: u32,
}

/// What a yes to a tool's call, or to code, is bound to.
#[derive(Debug, Clone, Copy)]
pub struct CallFingerprintParts<'a> {
    /// Tenant and environment.
    pub realm: &'a Realm,
    /// The token that asks.
    pub token: &'a TokenId,
    /// The agent that asks.
    pub agent: &'a AgentId,
    /// Its role.
    pub role: Option<&'a RoleName>,
    /// The conversation it asks in.
    pub conversation: Option<&'a ConversationId>,
    /// What it calls this intended effect.
    pub intent: Option<&'a IntentId>,
    /// The user that the token is bound to.
    pub user: Option<&'a UserId>,
    /// Whether it's a tool's call, or code in a sandbox.
    pub kind: ComponentKind,
    /// The tool.
    pub tool: &'a ToolName,
    /// The component that it's part of: another one of the same name does something else.
    pub component: Digest,
    /// The digest of what is really run: the arguments in canonical form, or all blocks of code with their languages.
    pub work: Digest,
    /// The digest of the policies that asked for the approval.
    pub policy: Digest,
    /// How many people those policies want.
    pub quorum: u32,
}

impl Fingerprint {
    /// The fingerprint of a call, or of code.
    #[must_use]
    pub fn of_call(parts: CallFingerprintParts<'_>) -> Self {
        let CallFingerprintParts {
            realm, token, agent, role, conversation, intent, user, kind, tool, ..
        } = parts;
        let kind: &[u8] = match kind {
            ComponentKind::Tool => b"call",
            ComponentKind::Sandbox => b"code",
        };
        let asker = asker(CALL, realm, token, agent, role, conversation);
        let rest = [
            intent.map(|intent| intent.as_str().as_bytes()),
            user.map(|user| user.as_str().as_bytes()),
            Some(kind),
            Some(tool.as_str().as_bytes()),
            Some(&parts.component.0),
            Some(&parts.work.0),
            Some(&parts.policy.0),
            Some(&parts.quorum.to_be_bytes()),
        ];
        hash(asker.into_iter().chain(rest))
    }

    /// The fingerprint of a question.
    #[must_use]
    pub fn of_question(parts: QuestionParts<'_>) -> Self {
        let QuestionParts { realm, token, agent, role, conversation, about, context, policy, quorum } = parts;
        let word = about.word();
        let (kind, resource) = match about {
            About::Operation { connection, .. } => ("operation", connection.as_str()),
            About::Api { resource, .. } => ("api", resource.as_str()),
            About::Call { tool } | About::Code { tool } => ("tool", tool.as_str()),
        };
        let asker = asker(QUESTION, realm, token, agent, role, conversation);
        let rest = [
            Some(kind.as_bytes()),
            Some(word.as_bytes()),
            Some(resource.as_bytes()),
            Some(&context.0),
            Some(&policy.0),
            Some(&quorum.to_be_bytes()),
        ];
        hash(asker.into_iter().chain(rest))
    }

    /// The fingerprint of these.
    #[must_use]
    pub fn of(parts: FingerprintParts<'_>) -> Self {
        let FingerprintParts { realm, token, agent, role, conversation, intent, via, .. } = parts;
        let (tool, component) = match via {
            Via::Tool { name, component, .. } | Via::Code { name, component, .. } => {
                (Some(name.as_str()), Some(&component.0[..]))
            }
            Via::Proxy => (None, None),
        };
        let headers = parts.constant_headers.iter();
        let headers = headers.flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        let asker = asker(DOMAIN, realm, token, agent, role, conversation);
        let fixed = [
            intent.map(|intent| intent.as_str().as_bytes()),
            tool.map(str::as_bytes),
            component,
            Some(parts.connection.as_str().as_bytes()),
            Some(parts.upstream.as_bytes()),
            Some(parts.operation.as_str().as_bytes()),
            Some(&parts.request.0),
            Some(&parts.policy.0),
            Some(parts.secret.as_str().as_bytes()),
            Some(&parts.secret_version.to_be_bytes()),
            parts.user.map(|user| user.as_str().as_bytes()),
            Some(&parts.quorum.to_be_bytes()),
            Some(&(parts.constant_headers.len() as u64).to_be_bytes()),
        ];
        hash(asker.into_iter().chain(fixed).chain(headers.map(Some)))
    }

    /// As a digest.
    #[must_use]
    pub fn digest(self) -> Digest {
        self.0
    }

    /// Any fingerprint, for tests of what only compares them.
    #[cfg(test)]
    pub(crate) fn for_tests(text: &str) -> Self {
        Self(Digest::of(text.as_bytes()))
    }
}

/// What each fingerprint begins with: its kind, and who asks.
fn asker<'p>(
    domain: &'p [u8],
    realm: &'p Realm,
    token: &'p TokenId,
    agent: &'p AgentId,
    role: Option<&'p RoleName>,
    conversation: Option<&'p ConversationId>,
) -> [Option<&'p [u8]>; 7] {
    [
        Some(domain),
        Some(realm.tenant.as_str().as_bytes()),
        Some(realm.environment.as_str().as_bytes()),
        Some(token.as_str().as_bytes()),
        Some(agent.as_str().as_bytes()),
        role.map(|role| role.as_str().as_bytes()),
        conversation.map(|conversation| conversation.as_str().as_bytes()),
    ]
}

fn hash<'p>(parts: impl Iterator<Item = Option<&'p [u8]>>) -> Fingerprint {
    let mut digested = Digested::of(b"");
    parts.for_each(|part| digested.part_or_none(part));
    Fingerprint(digested.digest())
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;

    struct Owned {
        realm: Realm,
        token: TokenId,
        agent: AgentId,
        role: Option<RoleName>,
        conversation: Option<ConversationId>,
        intent: Option<IntentId>,
        via: Via,
        connection: ConnectionName,
        upstream: &'static str,
        headers: Vec<(HeaderName, HeaderValue)>,
        operation: OperationName,
        request: Digest,
        policy: Digest,
        secret: SecretLabel,
        secret_version: u32,
        user: Option<UserId>,
        quorum: u32,
    }

    impl Owned {
        fn new() -> Self {
            Self {
                realm: Realm { tenant: "acme".parse().unwrap(), environment: "prod".parse().unwrap() },
                token: "tok_000000000000000000000001".parse().unwrap(),
                agent: "billing".parse().unwrap(),
                role: Some("payer".parse().unwrap()),
                conversation: Some("c-1".parse().unwrap()),
                intent: Some("i-1".parse().unwrap()),
                via: tool("create_charge", b"component"),
                connection: "stripe".parse().unwrap(),
                upstream: "https://api.stripe.com",
                headers: vec![header("stripe-version", "1")],
                operation: "create_charge".parse().unwrap(),
                request: Digest::of(b"request"),
                policy: Digest::of(b"policy"),
                secret: "stripe".parse().unwrap(),
                secret_version: 1,
                user: Some("ann".parse().unwrap()),
                quorum: 1,
            }
        }

        fn fingerprint(&self) -> Fingerprint {
            Fingerprint::of(FingerprintParts {
                realm: &self.realm,
                token: &self.token,
                agent: &self.agent,
                role: self.role.as_ref(),
                conversation: self.conversation.as_ref(),
                intent: self.intent.as_ref(),
                via: &self.via,
                connection: &self.connection,
                upstream: self.upstream,
                constant_headers: &self.headers,
                operation: &self.operation,
                request: self.request,
                policy: self.policy,
                secret: &self.secret,
                secret_version: self.secret_version,
                user: self.user.as_ref(),
                quorum: self.quorum,
            })
        }
    }

    fn header(name: &'static str, value: &'static str) -> (HeaderName, HeaderValue) {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    }

    fn tool(name: &str, component: &[u8]) -> Via {
        Via::Tool {
            name: name.parse().unwrap(),
            component: Digest::of(component),
            connections: Arc::from([]),
        }
    }

    #[test]
    fn every_part_changes_it() {
        type Change = fn(&mut Owned);
        let changes: [(&str, Change); 28] = [
            ("nothing", |_| {}),
            ("tenant", |o| o.realm.tenant = "acm".parse().unwrap()),
            ("environment", |o| o.realm.environment = "dev".parse().unwrap()),
            ("token", |o| o.token = "tok_000000000000000000000002".parse().unwrap()),
            ("agent", |o| o.agent = "billing2".parse().unwrap()),
            ("role", |o| o.role = Some("reader".parse().unwrap())),
            ("no role", |o| o.role = None),
            ("conversation", |o| o.conversation = Some("c-2".parse().unwrap())),
            ("no conversation", |o| o.conversation = None),
            ("intent", |o| o.intent = Some("i-2".parse().unwrap())),
            ("no intent", |o| o.intent = None),
            ("tool", |o| o.via = tool("charge", b"component")),
            ("component", |o| o.via = tool("create_charge", b"component 2")),
            ("proxy door", |o| o.via = Via::Proxy),
            ("connection", |o| o.connection = "stripe-2".parse().unwrap()),
            ("upstream", |o| o.upstream = "https://api.stripe.example"),
            ("a header's value", |o| o.headers = vec![header("stripe-version", "2")]),
            ("a header's name", |o| o.headers = vec![header("stripe-versio", "n1")]),
            ("no header", |o| o.headers.clear()),
            ("two headers", |o| o.headers.push(header("stripe-account", "acct_1"))),
            ("secret", |o| o.secret = "stripe-2".parse().unwrap()),
            ("operation", |o| o.operation = "create_refund".parse().unwrap()),
            ("request", |o| o.request = Digest::of(b"request 2")),
            ("policy", |o| o.policy = Digest::of(b"policy 2")),
            ("secret version", |o| o.secret_version = 2),
            ("whose secret", |o| o.user = Some("bob".parse().unwrap())),
            ("nobody's secret", |o| o.user = None),
            ("quorum", |o| o.quorum = 2),
        ];
        let mut seen = BTreeSet::new();
        for (what, change) in changes {
            let mut parts = Owned::new();
            change(&mut parts);
            assert!(seen.insert(parts.fingerprint().to_string()), "{what} doesn't count");
        }
        assert!(!seen.insert(Owned::new().fingerprint().to_string()), "the same parts give the same one");
    }

    #[test]
    fn every_part_of_a_call_changes_it() {
        let a = Owned::new();
        let elsewhere = Realm { environment: "dev".parse().unwrap(), ..a.realm.clone() };
        let (tool, other_tool) = ("run_command".parse().unwrap(), "run_comman".parse().unwrap());
        let (other_token, other_agent) =
            ("tok_000000000000000000000002".parse().unwrap(), "b".parse().unwrap());
        let (other_intent, other_user) = ("i-2".parse().unwrap(), "bob".parse().unwrap());
        let (talk, role) = ("c-2".parse().unwrap(), "pay".parse().unwrap());
        let base = CallFingerprintParts {
            realm: &a.realm,
            token: &a.token,
            agent: &a.agent,
            role: a.role.as_ref(),
            conversation: a.conversation.as_ref(),
            intent: a.intent.as_ref(),
            user: a.user.as_ref(),
            kind: ComponentKind::Tool,
            tool: &tool,
            component: Digest::of(b"component"),
            work: Digest::of(b"{}"),
            policy: a.policy,
            quorum: 1,
        };
        let mut seen = BTreeSet::new();
        for (what, parts) in [
            ("nothing", base),
            ("environment", CallFingerprintParts { realm: &elsewhere, ..base }),
            ("token", CallFingerprintParts { token: &other_token, ..base }),
            ("agent", CallFingerprintParts { agent: &other_agent, ..base }),
            ("role", CallFingerprintParts { role: Some(&role), ..base }),
            ("no role", CallFingerprintParts { role: None, ..base }),
            ("conversation", CallFingerprintParts { conversation: Some(&talk), ..base }),
            ("no conversation", CallFingerprintParts { conversation: None, ..base }),
            ("intent", CallFingerprintParts { intent: Some(&other_intent), ..base }),
            ("no intent", CallFingerprintParts { intent: None, ..base }),
            ("user", CallFingerprintParts { user: Some(&other_user), ..base }),
            ("no user", CallFingerprintParts { user: None, ..base }),
            ("code", CallFingerprintParts { kind: ComponentKind::Sandbox, ..base }),
            ("tool", CallFingerprintParts { tool: &other_tool, ..base }),
            ("component", CallFingerprintParts { component: Digest::of(b"another"), ..base }),
            ("what is run", CallFingerprintParts { work: Digest::of(b"{ }"), ..base }),
            ("policy", CallFingerprintParts { policy: Digest::of(b"2"), ..base }),
            ("quorum", CallFingerprintParts { quorum: 2, ..base }),
        ] {
            assert!(seen.insert(Fingerprint::of_call(parts).to_string()), "{what} doesn't count");
        }
    }

    #[test]
    fn every_part_of_a_question_changes_it() {
        let (a, b) = (Owned::new(), {
            let mut other = Owned::new();
            other.realm.environment = "dev".parse().unwrap();
            other
        });
        let api = |action: &str, resource: &str| About::Api {
            action: action.to_owned(),
            resource: resource.to_owned(),
        };
        let operation = About::Operation { connection: a.connection.clone(), operation: a.operation.clone() };
        let (one, two, three) =
            (api("execute", "api://t/1"), api("execut", "eapi://t/1"), api("execute", "api://t/2"));
        let named = api("create_charge", "stripe");
        let (other_token, other_agent) =
            ("tok_000000000000000000000002".parse().unwrap(), "b".parse().unwrap());
        let base = QuestionParts {
            realm: &a.realm,
            token: &a.token,
            agent: &a.agent,
            role: a.role.as_ref(),
            conversation: a.conversation.as_ref(),
            about: &one,
            context: Digest::of(b"{}"),
            policy: a.policy,
            quorum: 1,
        };
        let mut seen = BTreeSet::new();
        for (what, parts) in [
            ("nothing", base),
            ("environment", QuestionParts { realm: &b.realm, ..base }),
            ("token", QuestionParts { token: &other_token, ..base }),
            ("agent", QuestionParts { agent: &other_agent, ..base }),
            ("role", QuestionParts { role: None, ..base }),
            ("conversation", QuestionParts { conversation: None, ..base }),
            ("action and resource", QuestionParts { about: &two, ..base }),
            ("resource", QuestionParts { about: &three, ..base }),
            ("an operation", QuestionParts { about: &operation, ..base }),
            ("what is called like one", QuestionParts { about: &named, ..base }),
            ("context", QuestionParts { context: Digest::of(b"{ }"), ..base }),
            ("policy", QuestionParts { policy: Digest::of(b"2"), ..base }),
            ("quorum", QuestionParts { quorum: 2, ..base }),
        ] {
            assert!(seen.insert(Fingerprint::of_question(parts).to_string()), "{what} doesn't count");
        }
    }

    #[test]
    fn what_is_moved_from_one_part_to_its_neighbour_counts() {
        let shifted = |tenant: &str, environment: &str, agent: &str, role: Option<&str>| {
            let mut parts = Owned::new();
            parts.realm =
                Realm { tenant: tenant.parse().unwrap(), environment: environment.parse().unwrap() };
            parts.agent = agent.parse().unwrap();
            parts.role = role.map(|role| role.parse().unwrap());
            parts.fingerprint()
        };
        assert_ne!(shifted("ab", "c", "d", None), shifted("a", "bc", "d", None));
        assert_ne!(shifted("a", "b", "cd", Some("e")), shifted("a", "b", "c", Some("de")));
        let mut moved = Owned::new();
        (moved.conversation, moved.intent) = (None, Some("c-1".parse().unwrap()));
        let mut stayed = Owned::new();
        (stayed.conversation, stayed.intent) = (Some("c-1".parse().unwrap()), None);
        assert_ne!(moved.fingerprint(), stayed.fingerprint());
    }

    #[test]
    fn it_is_shown_and_read_back() {
        let fingerprint = Owned::new().fingerprint();
        assert_eq!(fingerprint.to_string().parse::<Fingerprint>().unwrap(), fingerprint);
        assert!("sha256:1".parse::<Fingerprint>().is_err());
    }
}
