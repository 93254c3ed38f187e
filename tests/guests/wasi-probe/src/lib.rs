//! A guest that looks for whatever WASI gives it. It must find nothing but a clock and random bytes.
#![cfg(target_arch = "wasm32")]

use keybearer_guest::prelude::*;

mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "probe", generate_all });
}

use bindings::wasi::cli::environment;
use bindings::wasi::clocks::{monotonic_clock, wall_clock};
use bindings::wasi::filesystem::preopens;
use bindings::wasi::random::random;
use bindings::wasi::sockets::instance_network::instance_network;
use bindings::wasi::sockets::ip_name_lookup::resolve_addresses;
use bindings::wasi::sockets::network::{
    ErrorCode, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress, Ipv6SocketAddress, Network,
};
use bindings::wasi::sockets::tcp_create_socket::create_tcp_socket;
use bindings::wasi::sockets::udp_create_socket::create_udp_socket;

/// Where to look.
#[derive(Args)]
struct Probe {
    /// A port on loopback where something listens.
    port: u16,
    /// A name that resolves.
    name: String,
}

/// What there was.
#[derive(Output)]
struct Report {
    /// Environment variables, `NAME=value`.
    environment: Vec<String>,
    /// Program arguments.
    arguments: Vec<String>,
    /// The working folder.
    working_folder: Option<String>,
    /// Folders that were opened in advance.
    folders: Vec<String>,
    /// What the network allowed: connecting, binding, resolving.
    network: Vec<String>,
    /// What it refused, and how.
    refused: Vec<String>,
    /// Whether the clocks run.
    clocks: bool,
    /// Whether random bytes differ.
    random: bool,
}

/// Looks for whatever there is.
#[tool]
fn probe(args: Probe) -> Result<Report> {
    let (mut network, mut refused) = (Vec::new(), Vec::new());
    let net = instance_network();
    for (attempt, result) in attempts(&net, args.port, &args.name) {
        match result {
            Ok(()) => network.push(attempt.to_owned()),
            Err(code) => refused.push(format!("{attempt}: {}", code.name())),
        }
    }
    Ok(Report {
        environment: environment::get_environment()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
        arguments: environment::get_arguments(),
        working_folder: environment::initial_cwd(),
        folders: preopens::get_directories().into_iter().map(|(_, path)| path).collect(),
        network,
        refused,
        clocks: wall_clock::now().seconds > 0 && monotonic_clock::now() <= monotonic_clock::now(),
        random: random::get_random_bytes(16) != random::get_random_bytes(16),
    })
}

keybearer_guest::export!(probe);

fn attempts(net: &Network, port: u16, name: &str) -> Vec<(&'static str, Result<(), ErrorCode>)> {
    let v4 = |port, address| IpSocketAddress::Ipv4(Ipv4SocketAddress { port, address });
    let v6 = |port| {
        let address = (0, 0, 0, 0, 0, 0, 0, 1);
        IpSocketAddress::Ipv6(Ipv6SocketAddress { port, flow_info: 0, address, scope_id: 0 })
    };
    let tcp = |family| create_tcp_socket(family);
    let loopback = (127, 0, 0, 1);
    vec![
        (
            "tcp connect",
            tcp(IpAddressFamily::Ipv4).and_then(|socket| socket.start_connect(net, v4(port, loopback))),
        ),
        ("tcp connect v6", tcp(IpAddressFamily::Ipv6).and_then(|socket| socket.start_connect(net, v6(port)))),
        ("tcp metadata", {
            tcp(IpAddressFamily::Ipv4)
                .and_then(|socket| socket.start_connect(net, v4(80, (169, 254, 169, 254))))
        }),
        ("tcp bind", tcp(IpAddressFamily::Ipv4).and_then(|socket| socket.start_bind(net, v4(0, loopback)))),
        ("udp bind", {
            create_udp_socket(IpAddressFamily::Ipv4)
                .and_then(|socket| socket.start_bind(net, v4(0, loopback)))
        }),
        (
            "resolve",
            resolve_addresses(net, name).and_then(|stream| first_answer(|| stream.resolve_next_address())),
        ),
        ("resolve localhost", {
            resolve_addresses(net, "localhost")
                .and_then(|stream| first_answer(|| stream.resolve_next_address()))
        }),
    ]
}

/// Asks until there's an answer or a refusal. A lookup that never ends isn't one that was allowed.
fn first_answer<T>(mut next: impl FnMut() -> Result<Option<T>, ErrorCode>) -> Result<(), ErrorCode> {
    for _ in 0..1_000_000 {
        match next() {
            Err(ErrorCode::WouldBlock) => {}
            Ok(Some(_)) => return Ok(()),
            Ok(None) => return Err(ErrorCode::NameUnresolvable),
            Err(code) => return Err(code),
        }
    }
    Err(ErrorCode::WouldBlock)
}
