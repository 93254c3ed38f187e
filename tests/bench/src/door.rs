//! Over HTTP: the whole host, beside a bare route and one that only runs a fresh instance. All three run on the same
//! threads, and no upstream takes part.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tower::Service as _;

use keybearer::app::App;
use keybearer::clock::{Clock as _, SystemClock};
use keybearer::doors;

use crate::home;
use crate::in_process::executor;
use crate::load::{self, Request};
use crate::raw::Raw;
use crate::sample::{Measure, Sample};
use crate::stage::{Place, token};
use crate::table::{Line, Target};

const TOOL: &str = "word_count";
const ARGUMENTS: &str = r#"{"text":"How many words are there in this one sentence?"}"#;
const ROUNDS: usize = 3;

/// Measures d.
pub(crate) fn run(place: &Place, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    let folder = place.folder()?;
    let home = home::create(&folder.path().join("home"))?;
    let app = Arc::new(home::open(&home)?);
    let text = place.component("text")?;
    app.catalog.add("text", &text, &[], SystemClock.now())?;
    app.tools_changed();
    app.refresh_policy();
    let token = token(&app.auth)?;

    let executor = executor(2)?;
    let bound = executor.block_on(doors::bind(&home::serve_config(&home)?))?;
    let full = Request::post(bound.address(), &format!("/v1/tools/{TOOL}"), &token, ARGUMENTS);
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = executor.spawn(bound.serve(app.clone(), async {
        stopped.await.ok();
    }));
    let routes = routes(Raw::new(&text, Bytes::new())?);
    let address = executor.block_on(serve(routes))?;
    let bare = Request::post(address, "/bare", &token, ARGUMENTS);
    let instance = Request::post(address, "/instance", &token, ARGUMENTS);

    for connections in [1, 16, 64] {
        let mut samples: [Sample; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (sample, request) in samples.iter_mut().zip([&bare, &instance, &full]) {
                sample.add(load::run(request, connections)?);
            }
        }
        tell(connections, &samples, lines);
    }
    stop.send(()).ok();
    executor.block_on(serving).context("the door broke down")??;
    end(app);
    Ok(())
}

fn tell(connections: usize, samples: &[Sample; 3], lines: &mut Vec<Line>) {
    let [bare, instance, full] = samples;
    let title = |what: &str| format!("d {connections} connections: {what}");
    lines.push(Line::alone(&title("bare route, req/s"), "/s", bare.per_second()));
    lines.push(Line::alone(&title("bare route, CPU"), "µs", bare.cpu_us()));
    let beside = |what: &str, measure| Line::in_turn(&title(what), measure, full, instance);
    let pace = beside("all on beside instance only, req/s", Measure::Pace);
    let cpu = beside("the same, CPU a request", Measure::Cpu);
    if connections == 64 {
        lines.push(pace.wants(Target::Least(0.5)));
        lines.push(cpu);
        lines.push(Line::within(&title("all on, CPU a request"), "µs", full.cpu_us(), 50.0));
    } else {
        lines.extend([pace, cpu]);
    }
    lines.push(beside("the same, wall p50", Measure::Half));
}

fn end(app: Arc<App>) {
    let audit = app.audit.clone();
    drop(app);
    audit.shutdown();
}

fn routes(raw: Raw) -> Router {
    let json = |body: String| ([(CONTENT_TYPE, "application/json")], body);
    let bare = move |_: Bytes| async move { json(r#"{"words":9,"characters":46,"lines":1}"#.to_owned()) };
    let instance = move |State(raw): State<Arc<Raw>>, body: Bytes| async move {
        let arguments = String::from_utf8_lossy(&body);
        match raw.call(TOOL, &arguments).await {
            Ok(result) => json(result).into_response(),
            Err(error) => {
                (axum::http::StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}")).into_response()
            }
        }
    };
    Router::new().route("/bare", post(bare)).route("/instance", post(instance)).with_state(Arc::new(raw))
}

/// The same hyper as the host's own door, without its limits.
async fn serve(routes: Router) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).ok();
            let routes = routes.clone();
            let service = service_fn(move |request| routes.clone().call(request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new());
            tokio::spawn(async move { http.serve_connection(TokioIo::new(socket), service).await.ok() });
        }
    });
    Ok(address)
}
