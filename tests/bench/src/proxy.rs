//! The proxy door beside nginx: the same request to the same TLS upstream, over connections that are kept on both sides.
//! nginx adds one header and does nothing else; the host does all that it does.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use keybearer::app::App;
use keybearer::clock::SystemClock;
use keybearer::doors;
use keybearer::egress::{MasterKeys, SecretInput, Vault};
use keybearer::home::Home;
use keybearer::store::sqlite::SqliteControl;
use keybearer_testkit::ca::Ca;
use keybearer_testkit::process::{Program, free_port};
use keybearer_testkit::upstream::{Reply, Script, Upstream};

use crate::cpu::UPSTREAM;
use crate::home;
use crate::in_process::executor;
use crate::load::{self, Request};
use crate::sample::{Measure, Sample};
use crate::stage::{INVOICE, Place, STRIPE, realm, token};
use crate::table::{Line, Target};

const ROUNDS: usize = 5;
const CONNECTIONS: usize = 64;
const KEY: &str = "sk_test_bench_0123456789abcdefghij";
const READ: &str = "/v1/invoices/in_1Abc";
const WRITE: (&str, &str) = ("/v1/charges", "amount=1&currency=usd&customer=cus_1Abc");

/// Budgets of money in which every charge is reserved and settled, and that no read takes from.
const BUDGETS: &[(&str, &str)] = &[
    ("each token", "total"),
    ("each agent", "day"),
    ("each role", "day"),
    ("each customer", "month"),
    ("connection:stripe", "hour"),
    ("tenant", "month"),
];

/// Measures m.
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
    std::fs::write(folder.path().join("ca.pem"), ca.pem())?;

    let home = make_home(folder.path(), &upstream.base_url())?;
    let app = Arc::new(home::open(&home)?);
    app.refresh_policy();
    let token = token(&app.auth)?;
    let executor = executor(2)?;
    let bound = executor.block_on(doors::bind(&home::serve_config(&home)?))?;
    let ours = bound.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = executor.spawn(bound.serve(app.clone(), async {
        stopped.await.ok();
    }));

    let nginx = start_nginx(folder.path(), upstream.port())?;
    for (what, most, method, path, body) in [
        ("reads without a budget", 3.0, "GET", READ, ""),
        ("writes, six budgets", 4.0, "POST", WRITE.0, WRITE.1),
    ] {
        let full = Request::form(ours, method, &format!("/proxy/stripe{path}"), &token, body);
        let (mut full_sample, mut beside) = (Sample::default(), Sample::default());
        for _ in 0..ROUNDS {
            full_sample.add(load::run(&full, CONNECTIONS)?);
            if let Some((program, port)) = &nginx {
                let plain = Request::form(([127, 0, 0, 1], *port).into(), method, path, "none", body);
                beside.add(load::run_other(&plain, CONNECTIONS, program.pid())?);
            }
        }
        let title = |measure: &str| format!("m proxy door, {what}: {measure}");
        if nginx.is_some() {
            let line = |what: &str, measure| Line::in_turn(&title(what), measure, &full_sample, &beside);
            lines.push(line("CPU, beside nginx", Measure::Cpu).wants(Target::Most(most)));
            lines.push(line("req/s", Measure::Pace));
        } else {
            lines.push(Line::alone(&title("CPU"), "µs", full_sample.cpu_us()));
            lines.push(Line::alone(&title("req/s"), "/s", full_sample.per_second()));
        }
    }
    stop.send(()).ok();
    executor.block_on(serving).context("the door broke down")??;
    end(app);
    Ok(())
}

/// A home with the example's connection turned to our upstream, its secret, and budgets.
fn make_home(folder: &Path, base_url: &str) -> anyhow::Result<Home> {
    let home = home::create(&folder.join("home"))?;
    let ca_file = folder.join("ca.pem");
    let upstream =
        format!("{base_url}\"\nca_file = \"{}\"\nallow_insecure_loopback = true", ca_file.display());
    let connection = STRIPE.replace("https://api.stripe.com\"", &upstream);
    std::fs::write(home.connections_dir().join("stripe.toml"), connection)?;
    let budgets: String = BUDGETS
        .iter()
        .map(|(subject, window)| {
            format!(
                "[[budget]]\nsubject = \"{subject}\"\nlimit = 1000000000\nunit = \"usd\"\nwindow = \"{window}\"\n"
            )
        })
        .collect();
    std::fs::write(home.budgets_file(), budgets)?;
    let control = Arc::new(SqliteControl::open(&home.control_db())?);
    let master = MasterKeys::from_file(&home.root().join("master.key"))?;
    let vault = Vault::open(control, master, Arc::new(SystemClock))?;
    let key = SecretInput::new(Zeroizing::new(KEY.as_bytes().to_vec()))?;
    vault.put(&realm()?, &"stripe-key".parse()?, &key)?;
    Ok(home)
}

/// nginx with the header added, and its port. `None`, said plainly, where it isn't installed.
fn start_nginx(folder: &Path, upstream: u16) -> anyhow::Result<Option<(Program, u16)>> {
    let Some(binary) = ["nginx", "/usr/sbin/nginx"]
        .into_iter()
        .find(|binary| Command::new(binary).arg("-v").output().is_ok_and(|said| said.status.success()))
    else {
        eprintln!(
            "    nginx isn't installed, so the proxy door has nothing beside it here. Debian and Ubuntu have it: \
             apt-get install nginx-light"
        );
        return Ok(None);
    };
    let port = free_port()?;
    let at = folder.display();
    // Two workers, as the host has two threads; no log at all.
    let config = format!(
        "daemon off;\nworker_processes 2;\npid {at}/nginx.pid;\nerror_log {at}/nginx.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  tcp_nodelay on;\n  keepalive_requests 100000000;\n\
           client_body_temp_path {at}/t1;\n  proxy_temp_path {at}/t2;\n  fastcgi_temp_path {at}/t3;\n\
           uwsgi_temp_path {at}/t4;\n  scgi_temp_path {at}/t5;\n\
           upstream stripe {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}\n\
           server {{\n    listen 127.0.0.1:{port};\n    location / {{\n      proxy_pass https://stripe;\n\
               proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n\
               proxy_set_header Host localhost:{upstream};\n      proxy_set_header Authorization \"Bearer {KEY}\";\n\
               proxy_ssl_trusted_certificate {at}/ca.pem;\n      proxy_ssl_verify on;\n      proxy_ssl_name localhost;\n\
               proxy_ssl_server_name on;\n    }}\n  }}\n}}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config)?;
    let mut command = Command::new(binary);
    command.arg("-c").arg(&file).arg("-p").arg(folder);
    let mut program = Program::start(command, &folder.join("nginx.out"))?;
    program.wait_ready(([127, 0, 0, 1], port).into(), READ, Duration::from_secs(10))?;
    Ok(Some((program, port)))
}

fn end(app: Arc<App>) {
    let audit = app.audit.clone();
    drop(app);
    audit.shutdown();
}
