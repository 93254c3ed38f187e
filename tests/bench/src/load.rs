//! Makes HTTP load from a thread of its own, with as little work as possible.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cpu::LOAD;
use crate::sample::{Round, Watch};

const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_millis(1_200);

/// One kind of request to one address.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Where it goes.
    pub(crate) to: SocketAddr,
    /// Its bytes.
    pub(crate) bytes: Arc<[u8]>,
}

/// What the connections share.
#[derive(Default)]
struct Shared {
    done: AtomicU64,
    measuring: AtomicBool,
    stop: AtomicBool,
    latencies: Mutex<Vec<Duration>>,
}

impl Request {
    /// A POST of a JSON text.
    pub(crate) fn post(to: SocketAddr, path: &str, token: &str, body: &str) -> Self {
        let length = body.len();
        let text = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        Self { to, bytes: text.into_bytes().into() }
    }

    /// A request with a form in its body; without one, if that is empty.
    pub(crate) fn form(to: SocketAddr, method: &str, path: &str, token: &str, body: &str) -> Self {
        let length = body.len();
        let about = match length {
            0 => String::new(),
            _ => format!("content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n"),
        };
        let text = format!(
            "{method} {path} HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {token}\r\n{about}\r\n{body}"
        );
        Self { to, bytes: text.into_bytes().into() }
    }
}

/// Sends the request over and over on this many connections.
pub(crate) fn run(request: &Request, connections: usize) -> anyhow::Result<Round> {
    watched(request, connections, Watch::start)
}

/// The same for another program: the processor time is its own and its children's.
pub(crate) fn run_other(request: &Request, connections: usize, pid: u32) -> anyhow::Result<Round> {
    watched(request, connections, || Watch::of(pid))
}

fn watched(request: &Request, connections: usize, watch: impl Fn() -> Watch) -> anyhow::Result<Round> {
    let shared = Arc::new(Shared::default());
    let thread = std::thread::Builder::new().name(LOAD.to_owned()).spawn({
        let (shared, request) = (shared.clone(), request.clone());
        move || all(&request, connections, &shared)
    })?;
    std::thread::sleep(WARM_UP);
    shared.measuring.store(true, Ordering::Relaxed);
    let (watch, before) = (watch(), shared.done.load(Ordering::Relaxed));
    std::thread::sleep(MEASURED);
    let calls = shared.done.load(Ordering::Relaxed) - before;
    let mut round = watch.stop(calls, Vec::new());
    shared.stop.store(true, Ordering::Relaxed);
    thread.join().ok().context("the load broke down")??;
    ensure!(calls > 0, "no request was answered");
    round
        .set_latencies(std::mem::take(&mut *shared.latencies.lock().unwrap_or_else(PoisonError::into_inner)));
    Ok(round)
}

fn all(request: &Request, connections: usize, shared: &Arc<Shared>) -> anyhow::Result<()> {
    let executor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    executor.block_on(async {
        let tasks: Vec<_> = (0..connections)
            .map(|_| {
                let (request, shared) = (request.clone(), shared.clone());
                tokio::spawn(async move { one(&request, &shared).await })
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
    })
}

async fn one(request: &Request, shared: &Shared) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(request.to).await?;
    socket.set_nodelay(true)?;
    let (mut latencies, mut buffer) = (Vec::new(), Vec::with_capacity(8 << 10));
    while !shared.stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        socket.write_all(&request.bytes).await?;
        answer(&mut socket, &mut buffer).await?;
        shared.done.fetch_add(1, Ordering::Relaxed);
        if shared.measuring.load(Ordering::Relaxed) {
            latencies.push(started.elapsed());
        }
    }
    shared.latencies.lock().unwrap_or_else(PoisonError::into_inner).append(&mut latencies);
    Ok(())
}

/// Reads one answer, which has to be a 200 with a length.
async fn answer(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    buffer.clear();
    loop {
        if let Some(size) = size(buffer)?
            && buffer.len() >= size
        {
            return Ok(());
        }
        ensure!(socket.read_buf(buffer).await? > 0, "the server hung up");
    }
}

/// The size of the whole answer, once its head is there.
fn size(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(bytes);
    if !text.starts_with("HTTP/1.1 200") {
        bail!("not a 200: {text}");
    }
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(Some(head + 4 + length.context("an answer without a length")?))
}
