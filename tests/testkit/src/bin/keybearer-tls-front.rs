//! A TLS front as a program, for the demo and for tests that aren't written in Rust:
//!
//! ```text
//! keybearer-tls-front --target 127.0.0.1:8420 --ca-out ca.pem [--transcript FILE]
//! ```
//!
//! It makes a throw-away CA, writes the CA's certificate to `--ca-out`, prints the port that it listens on, and
//! runs until its standard input closes or it gets SIGTERM or SIGINT. So it can't outlive whoever started it.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;

use keybearer_testkit::ca::{Ca, LOOPBACK_NAMES};
use keybearer_testkit::front::TlsFront;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse(std::env::args().skip(1))?;
    let ca = Ca::new();
    std::fs::write(&options.ca_out, ca.pem())
        .map_err(|error| format!("can't write {}: {error}", options.ca_out.display()))?;
    let front = TlsFront::start(&ca.leaf(LOOPBACK_NAMES), options.target, options.transcript).await?;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("{}", front.port());
    tokio::select! {
        () = stdin_closed() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    // Tokio waits for a blocking read of standard input on the way out, and that read may never end.
    std::process::exit(0)
}

async fn stdin_closed() {
    let mut stdin =
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    (&mut stdin).await.ok();
}

struct Options {
    target: SocketAddr,
    ca_out: PathBuf,
    transcript: Option<PathBuf>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut target, mut ca_out, mut transcript) = (None, None, None);
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| format!("{flag} needs a value"))?;
            match flag.as_str() {
                "--target" => {
                    target = Some(value.parse().map_err(|_| format!("--target {value} isn't ADDRESS:PORT"))?);
                }
                "--ca-out" => ca_out = Some(PathBuf::from(value)),
                "--transcript" => transcript = Some(PathBuf::from(value)),
                other => return Err(format!("unknown flag {other}")),
            }
        }
        Ok(Self {
            target: target.ok_or("--target is missing")?,
            ca_out: ca_out.ok_or("--ca-out is missing")?,
            transcript,
        })
    }
}
