//! How each scripted reply goes over the wire.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::time::Duration;

use base64::Engine as _;
use flate2::Compression;
use flate2::write::GzEncoder;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Echo, Reply, Seen};

const JSON: (&str, &str) = ("content-type", "application/json");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

type Stream = TlsStream<TcpStream>;

/// Sends a reply. `Break`: the connection is to be closed.
pub(super) async fn send(stream: &mut Stream, reply: &Reply, request: &Seen) -> io::Result<ControlFlow<()>> {
    match reply {
        Reply::Json(status, body) => write(stream, *status, &[JSON], body.as_bytes()).await?,
        Reply::Raw(status, headers, body) => {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            write(stream, *status, &headers, body).await?;
        }
        Reply::Echo(form) => echo(stream, *form, request.header("authorization").unwrap_or_default()).await?,
        Reply::Redirect(location) => write(stream, 307, &[("location", location)], b"").await?,
        Reply::Drip(every) => drip(stream, *every).await?,
        Reply::Endless => endless(stream).await?,
        Reply::GzipBomb(size) => write(stream, 200, &[JSON, GZIP], &gzip_of_spaces(*size)?).await?,
        Reply::HugeHeaders(size) => {
            write(stream, 200, &[JSON, ("x-huge", &"h".repeat(*size))], b"{}").await?
        }
        Reply::HangUp => return Ok(ControlFlow::Break(())),
        Reply::HangUpMidBody => {
            stream.write_all(&[&head(200, &[JSON], Some(100))[..], b"{\"half\": "].concat()).await?;
            return Ok(ControlFlow::Break(()));
        }
        Reply::Silent => std::future::pending::<()>().await,
    }
    Ok(ControlFlow::Continue(()))
}

async fn echo(stream: &mut Stream, form: Echo, authorization: &str) -> io::Result<()> {
    let body = format!("{{\"you_sent\": \"{authorization}\"}}");
    match form {
        Echo::Body => write(stream, 200, &[JSON], body.as_bytes()).await,
        Echo::Header => write(stream, 200, &[JSON, ("x-echo", authorization)], b"{}").await,
        Echo::Gzip => write(stream, 200, &[JSON, GZIP], &gzip(body.as_bytes())?).await,
        Echo::Base64 => {
            let encoded = base64::engine::general_purpose::STANDARD.encode(authorization);
            write(stream, 200, &[JSON], format!("{{\"you_sent\": \"{encoded}\"}}").as_bytes()).await
        }
        Echo::Chunks => {
            stream.write_all(&head(200, &[JSON], None)).await?;
            for byte in body.bytes() {
                stream.write_all(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']).await?;
                stream.flush().await?;
            }
            stream.write_all(b"0\r\n\r\n").await
        }
        Echo::Cookie => {
            let cookie = format!("session={authorization}; Path=/; HttpOnly");
            write(stream, 200, &[JSON, ("set-cookie", &cookie)], b"{}").await
        }
    }
}

async fn drip(stream: &mut Stream, every: Duration) -> io::Result<()> {
    stream.write_all(&head(200, &[JSON], Some(1_000_000))).await?;
    loop {
        stream.write_all(b" ").await?;
        stream.flush().await?;
        tokio::time::sleep(every).await;
    }
}

async fn endless(stream: &mut Stream) -> io::Result<()> {
    stream.write_all(&head(200, &[JSON], None)).await?;
    let chunk = [b"4000\r\n".as_slice(), &[b' '; 0x4000], b"\r\n"].concat();
    loop {
        stream.write_all(&chunk).await?;
    }
}

/// One write for head and body: two would cost a delayed acknowledgement.
async fn write(stream: &mut Stream, status: u16, headers: &[(&str, &str)], body: &[u8]) -> io::Result<()> {
    let mut bytes = head(status, headers, Some(body.len()));
    bytes.extend_from_slice(body);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// The status line and headers; without a length the body is chunked.
fn head(status: u16, headers: &[(&str, &str)], length: Option<usize>) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a string takes all");
    }
    match length {
        Some(length) => write!(head, "content-length: {length}\r\n\r\n"),
        None => write!(head, "transfer-encoding: chunked\r\n\r\n"),
    }
    .expect("a string takes all");
    head.into_bytes()
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn gzip_of_spaces(size: usize) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    io::copy(&mut io::Read::take(io::repeat(b' '), size as u64), &mut encoder)?;
    encoder.finish()
}
