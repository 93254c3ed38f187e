//! One send to a TLS upstream on loopback, beside reqwest alone doing the same.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, anyhow, bail, ensure};
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, USER_AGENT};
use keybearer::auth::{Auth, Caller};
use keybearer::clock::{Millis, SystemClock};
use keybearer::connection::{Connection, Connections};
use keybearer::egress::{Draft, Egress, MasterKey, SecretInput, SystemResolver, Vault};
use keybearer::policy::{CallContext, Policy, PolicyFile, START, SendAsk, Verdict, Via, World};
use keybearer::store::MemoryControl;
use keybearer_testkit::ca::Ca;
use keybearer_testkit::upstream::{Reply, Script, Upstream};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::cpu::UPSTREAM;
use crate::sample::{Measure, Round, Sample, Watch};
use crate::stage::{DEADLINE, INVOICE, Place, STRIPE, caller, realm};
use crate::table::{Line, Target};

const ROUNDS: usize = 15;
const SENDS: u64 = 500;
const KEY: &str = "sk_test_bench_0123456789abcdefghij";

/// Measures e.
pub(crate) fn run(place: &Place, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let folder = place.folder()?;
    let ca = Ca::new();
    let elsewhere = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(UPSTREAM)
        .enable_all()
        .build()?;
    let script = Script::always(Reply::Json(200, INVOICE.to_owned()));
    let upstream = elsewhere.block_on(Upstream::start(&ca, script))?;
    let host = Host::new(folder.path(), &ca, &upstream.base_url())?;
    let plain = Plain::new(&ca, &upstream.base_url())?;

    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut floor, mut ours) = (Sample::default(), Sample::default());
    executor.block_on(plain.sends(100))?;
    executor.block_on(host.sends(100))?;
    for _ in 0..ROUNDS {
        floor.add(executor.block_on(plain.sends(SENDS))?);
        ours.add(executor.block_on(host.sends(SENDS))?);
    }
    lines.push(
        Line::in_turn("e one send beside reqwest alone: CPU", Measure::Cpu, &ours, &floor)
            .wants(Target::Most(1.5)),
    );
    lines.push(Line::in_turn("e the same: wall p50", Measure::Half, &ours, &floor));
    Ok(())
}

/// Our way to the upstream.
struct Host {
    egress: Egress,
    auth: Auth,
    policy: Policy,
    caller: Arc<Caller>,
    connection: Arc<Connection>,
}

impl Host {
    fn new(folder: &Path, ca: &Ca, base_url: &str) -> anyhow::Result<Self> {
        std::fs::write(folder.join("ca.pem"), ca.pem())?;
        let more = format!("{base_url}\"\nca_file = \"ca.pem\"\nallow_insecure_loopback = true");
        std::fs::write(folder.join("stripe.toml"), STRIPE.replace("https://api.stripe.com\"", &more))?;
        let connections = Connections::load(folder).map_err(|problems| anyhow!("{problems}"))?;
        let connection = connections.iter().next().context("the connection is there")?.clone();
        let start = PolicyFile::new("start.cedar", START);
        let policy = Policy::of(&[start], &[], World::of(Arc::new(connections), []))
            .map_err(|problems| anyhow!("{problems}"))?;

        let (control, clock) = (Arc::new(MemoryControl::new()), Arc::new(SystemClock));
        let master = MasterKey::create_file(&folder.join("master.key"))?;
        let vault = Vault::open(control.clone(), master, clock.clone())?;
        let key = SecretInput::new(Zeroizing::new(KEY.as_bytes().to_vec()))?;
        vault.put(&realm()?, &connection.secret, &key)?;
        let auth = Auth::new(control, clock);
        let caller = caller(&auth)?;
        let egress = Egress::live(Arc::new(vault), Arc::new(SystemResolver::default()));
        Ok(Self { egress, auth, policy, caller, connection })
    }

    async fn sends(&self, sends: u64) -> anyhow::Result<Round> {
        let (realm, context) = (realm()?, CallContext::default());
        timed(sends, async || {
            let send = self.connection.accept(draft()).map_err(|failure| anyhow!("{failure:?}"))?;
            let alive = self.auth.alive(&self.caller)?;
            let ask = SendAsk {
                alive: &alive,
                context: &context,
                via: &Via::Proxy,
                now: Millis(0),
                approved: None,
            };
            let Verdict::Permitted(permit) = self.policy.permit_send(ask, send) else {
                bail!("not permitted")
            };
            let deadline = tokio::time::Instant::now() + DEADLINE;
            let reply = self.egress.send(permit, &realm, deadline).await;
            let reply = reply.map_err(|failure| anyhow!("{failure:?}"))?;
            ensure!(reply.status == 200 && reply.body.len() == INVOICE.len(), "not the invoice");
            Ok(())
        })
        .await
    }
}

/// What the tool asks for.
fn draft() -> Draft {
    Draft {
        connection: "stripe".to_owned(),
        method: "GET".to_owned(),
        path: "/v1/invoices/in_1Abc".to_owned(),
        query: Vec::new(),
        headers: Vec::new(),
        body: None,
    }
}

/// Reqwest alone, with the settings of the host's own client.
struct Plain {
    client: reqwest::Client,
    url: String,
}

impl Plain {
    fn new(ca: &Ca, base_url: &str) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).map_err(|error| anyhow!("{error}"))?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .tls_backend_preconfigured(tls)
            .build()?;
        Ok(Self { client, url: format!("{base_url}/v1/invoices/in_1Abc") })
    }

    async fn sends(&self, sends: u64) -> anyhow::Result<Round> {
        timed(sends, async || {
            let request = self
                .client
                .get(&self.url)
                .header(USER_AGENT, "keybearer/0.1.0")
                .header(ACCEPT_ENCODING, "gzip")
                .header("stripe-version", "2024-06-20")
                .header(AUTHORIZATION, format!("Bearer {KEY}"));
            let body = request.send().await?.error_for_status()?.bytes().await?;
            ensure!(body.len() == INVOICE.len(), "not the invoice");
            Ok(())
        })
        .await
    }
}

/// One after the other.
async fn timed(sends: u64, one: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<Round> {
    let mut latencies = Vec::with_capacity(sends as usize);
    let watch = Watch::start();
    for _ in 0..sends {
        let started = Instant::now();
        one().await?;
        latencies.push(started.elapsed());
    }
    Ok(watch.stop(sends, latencies))
}
