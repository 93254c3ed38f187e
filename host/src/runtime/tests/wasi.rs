//! Guests that import WASI find nothing in it.

use super::*;

/// The parts of WASI 0.2 that a guest might find something in.
const WIT: &str = r#"
package test:guest;

world guest {
    include keybearer:tool/tool@0.1.0;
    import wasi:cli/environment@0.2.0;
    import wasi:cli/exit@0.2.0;
    import wasi:filesystem/preopens@0.2.0;
    import wasi:random/random@0.2.0;
    import wasi:sockets/instance-network@0.2.0;
    import wasi:sockets/ip-name-lookup@0.2.0;
    import wasi:sockets/tcp-create-socket@0.2.0;
}

package wasi:cli@0.2.0 {
    interface environment {
        get-environment: func() -> list<tuple<string, string>>;
        get-arguments: func() -> list<string>;
        initial-cwd: func() -> option<string>;
    }
    interface exit { exit: func(status: result); }
}

package wasi:filesystem@0.2.0 {
    interface types { resource descriptor; }
    interface preopens {
        use types.{descriptor};
        get-directories: func() -> list<tuple<descriptor, string>>;
    }
}

package wasi:random@0.2.0 {
    interface random { get-random-bytes: func(len: u64) -> list<u8>; }
}

package wasi:sockets@0.2.0 {
    interface network {
        resource network;
        enum error-code {
            unknown, access-denied, not-supported, invalid-argument, out-of-memory, timeout, concurrency-conflict,
            not-in-progress, would-block, invalid-state, new-socket-limit, address-not-bindable, address-in-use,
            remote-unreachable, connection-refused, connection-reset, connection-aborted, datagram-too-large,
            name-unresolvable, temporary-resolver-failure, permanent-resolver-failure,
        }
        enum ip-address-family { ipv4, ipv6 }
    }
    interface instance-network {
        use network.{network};
        instance-network: func() -> network;
    }
    interface ip-name-lookup {
        use network.{network, error-code};
        resource resolve-address-stream;
        resolve-addresses: func(network: borrow<network>, name: string)
            -> result<resolve-address-stream, error-code>;
    }
    interface tcp { resource tcp-socket; }
    interface tcp-create-socket {
        use network.{error-code, ip-address-family};
        use tcp.{tcp-socket};
        create-tcp-socket: func(address-family: ip-address-family) -> result<tcp-socket, error-code>;
    }
}
"#;

const IMPORTS: &str = r#"
    (import "wasi:cli/environment@0.2.0" "get-environment" (func $environment (param i32)))
    (import "wasi:cli/environment@0.2.0" "get-arguments" (func $arguments (param i32)))
    (import "wasi:cli/environment@0.2.0" "initial-cwd" (func $cwd (param i32)))
    (import "wasi:cli/exit@0.2.0" "exit" (func $exit (param i32)))
    (import "wasi:filesystem/preopens@0.2.0" "get-directories" (func $directories (param i32)))
    (import "wasi:random/random@0.2.0" "get-random-bytes" (func $random (param i64 i32)))
    (import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))
    (import "wasi:sockets/ip-name-lookup@0.2.0" "resolve-addresses" (func $resolve (param i32 i32 i32 i32)))
    (import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket" (func $tcp (param i32 i32)))
    "#;

fn guest(call: &'static str) -> TestGuest {
    TestGuest { call, wit: Some(WIT), imports: IMPORTS, ..TestGuest::default() }
}

async fn digit(call: &'static str) -> String {
    run(&guest(call).build(), &limits()).await.result.unwrap()
}

#[tokio::test]
async fn there_is_no_environment_argument_or_folder() {
    // A list is a pointer and a length; an option starts with its discriminant.
    assert_eq!(
        digit("(call $environment (i32.const 3000)) (call $digit (i32.load (i32.const 3004)))").await,
        "0"
    );
    assert_eq!(
        digit("(call $arguments (i32.const 3000)) (call $digit (i32.load (i32.const 3004)))").await,
        "0"
    );
    assert_eq!(
        digit("(call $directories (i32.const 3000)) (call $digit (i32.load (i32.const 3004)))").await,
        "0"
    );
    assert_eq!(digit("(call $cwd (i32.const 3000)) (call $digit (i32.load8_u (i32.const 3000)))").await, "0");
}

#[tokio::test]
async fn there_is_no_network() {
    // 1: access-denied. 20: permanent-resolver-failure, of which the last digit is shown.
    let tcp = "(call $tcp (i32.const 0) (i32.const 3000))
        (if (i32.ne (i32.load8_u (i32.const 3000)) (i32.const 1)) (then (unreachable)))
        (call $digit (i32.load8_u (i32.const 3004)))";
    assert_eq!(digit(tcp).await, "1");
    let lookup = "(call $resolve (call $network) (i32.const 16) (i32.const 6) (i32.const 3000))
        (if (i32.ne (i32.load8_u (i32.const 3000)) (i32.const 1)) (then (unreachable)))
        (call $digit (i32.sub (i32.load8_u (i32.const 3004)) (i32.const 20)))";
    assert_eq!(digit(lookup).await, "0");
}

#[tokio::test]
async fn random_bytes_are_there_in_bounded_amounts() {
    let some = "(call $random (i64.const 16) (i32.const 3000)) (call $digit (i32.load (i32.const 3004)))";
    assert_eq!(digit(some).await, "6");
    let many = "(call $random (i64.const 0x7fffffffffff) (i32.const 3000)) (unreachable)";
    let report = run(&guest(many).build(), &limits()).await;
    assert!(
        matches!(&report.result, Err(RunFailure::Trap(cause)) if !cause.contains("unreachable")),
        "{report:?}"
    );
}

#[tokio::test]
async fn handles_are_bounded() {
    let hoard = "(loop $l (drop (call $network)) (br $l)) (unreachable)";
    let report = run(&guest(hoard).build(), &limits()).await;
    assert!(is_trap(&report, "no free keys"), "{report:?}");
}

#[tokio::test]
async fn exit_ends_the_guest_and_not_the_host() {
    let report = run(&guest("(call $exit (i32.const 0)) (unreachable)").build(), &limits()).await;
    assert!(is_trap(&report, "exit"), "{report:?}");
}

#[tokio::test]
async fn a_wasi_guest_describes_itself_without_rights() {
    let sound = TestGuest { describe: "(call $environment (i32.const 3000))", ..guest(OK) };
    assert_eq!(RUNTIME.describe(&prepared(&sound.build())).await.unwrap().len(), 1);
    let sending = TestGuest { describe: "(drop (call $get))", ..guest(OK) };
    assert!(RUNTIME.describe(&prepared(&sending.build())).await.is_err());
}
