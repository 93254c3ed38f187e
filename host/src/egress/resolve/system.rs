//! The operating system's resolver, and how much of it may be under way.
//!
//! A lookup keeps a thread busy for as long as a name server is silent, whether anybody still waits or not. The same
//! threads carry out revocations, kill switches and approvals. So there are few places for lookups, and all who ask for a
//! name at once share one.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::Resolve;
use crate::egress::wire::BoxFuture;

/// How many lookups may be under way at once, each of another name. Tokio has 512 threads for whatever blocks.
const LOOKUPS_MAX: usize = 32;

/// The operating system's resolver.
///
/// A lookup keeps its place until the system has answered, though nobody may wait for it any more. None is begun for
/// somebody who has gone. How long one waits is up to who asks.
#[derive(Clone)]
pub struct SystemResolver(Arc<Lookups>);

/// Asks the system, which blocks.
type Ask = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

type Names = HashMap<String, Arc<tokio::sync::Mutex<Progress>>>;

struct Lookups {
    ask: Box<Ask>,
    places: Arc<Semaphore>,
    /// The names that are looked up or wait for a place. One that all gave up before it had a place stays for who asks
    /// next: there are no more of them than connections have names.
    names: Mutex<Names>,
}

/// How far the lookup of a name has come. Whoever has it locked drives it on; who goes leaves it to the next.
#[derive(Default)]
enum Progress {
    #[default]
    Waiting,
    UnderWay(JoinHandle<io::Result<Vec<IpAddr>>>),
    /// The answer for all who wait. Of an error they get the kind and the text: it can't be copied.
    Answered(Result<Vec<IpAddr>, (io::ErrorKind, String)>),
}

/// A lookup under way.
struct Lookup {
    lookups: Arc<Lookups>,
    host: String,
    _place: OwnedSemaphorePermit,
}

impl Default for SystemResolver {
    fn default() -> Self {
        Self::asking(|host| Ok((host, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }
}

impl Resolve for SystemResolver {
    fn lookup<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(self.0.answer(host))
    }
}

impl SystemResolver {
    fn asking(ask: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        let places = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self(Arc::new(Lookups { ask: Box::new(ask), places, names: Mutex::default() }))
    }
}

impl Lookups {
    async fn answer(self: &Arc<Self>, host: &str) -> io::Result<Vec<IpAddr>> {
        let name = Arc::clone(self.names().entry(host.to_owned()).or_default());
        let mut progress = name.lock().await;
        loop {
            *progress = match &mut *progress {
                Progress::Waiting => Progress::UnderWay(self.begin(host).await?),
                Progress::UnderWay(lookup) => {
                    let answer = lookup.await.unwrap_or_else(|broken| Err(broken.into()));
                    Progress::Answered(answer.map_err(|error| (error.kind(), error.to_string())))
                }
                Progress::Answered(answer) => {
                    return answer.clone().map_err(|(kind, text)| io::Error::new(kind, text));
                }
            };
        }
    }

    async fn begin(self: &Arc<Self>, host: &str) -> io::Result<JoinHandle<io::Result<Vec<IpAddr>>>> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let lookup = Lookup { lookups: Arc::clone(self), host: host.to_owned(), _place: place };
        Ok(tokio::task::spawn_blocking(move || lookup.answer()))
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        // Each critical section is one step of the map's own.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lookup {
    fn answer(&self) -> io::Result<Vec<IpAddr>> {
        (self.lookups.ask)(&self.host)
    }
}

impl Drop for Lookup {
    /// Whoever asks from now on gets a new answer.
    fn drop(&mut self) {
        self.lookups.names().remove(&self.host);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::task::Poll;
    use std::time::Duration;

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(8, 8, 8, 8));

    /// A name server that is silent on names that begin with `dead` until it's woken, and counts.
    #[derive(Default)]
    struct Server {
        awake: AtomicBool,
        asked: AtomicUsize,
    }

    impl Server {
        fn answer(&self, host: &str) -> io::Result<Vec<IpAddr>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            while host.starts_with("dead") && !self.awake.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert!(host != "broken.example", "told to break down");
            if host.ends_with(".test") { Err(io::Error::other("no such name")) } else { Ok(vec![ADDRESS]) }
        }

        fn wake(&self, awake: bool) {
            self.awake.store(awake, Ordering::SeqCst);
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    fn resolver() -> (SystemResolver, Arc<Server>) {
        let server = Arc::new(Server::default());
        let asked = server.clone();
        (SystemResolver::asking(move |host| asked.answer(host)), server)
    }

    /// How many places are free.
    fn free(resolver: &SystemResolver) -> usize {
        resolver.0.places.available_permits()
    }

    /// Runs a lookup up to where it waits.
    async fn started<T>(mut lookup: BoxFuture<'_, T>) -> BoxFuture<'_, T> {
        tokio::task::yield_now().await;
        poll_fn(|context| {
            assert!(lookup.as_mut().poll(context).is_pending());
            Poll::Ready(())
        })
        .await;
        lookup
    }

    #[tokio::test]
    async fn all_who_ask_for_a_name_at_once_share_a_lookup_and_none_is_kept() {
        for (host, found) in [("dead.example", Some(ADDRESS)), ("dead.test", None)] {
            let (resolver, server) = resolver();
            let mut waiting = Vec::new();
            for _ in 0..5 {
                waiting.push(started(resolver.lookup(host)).await);
            }
            server.wake(true);
            for lookup in waiting {
                match (lookup.await, found) {
                    (Ok(all), Some(address)) => assert_eq!(all, [address]),
                    (Err(error), None) => assert_eq!(error.to_string(), "no such name"),
                    (other, _) => panic!("{host}: {other:?}"),
                }
            }
            assert_eq!(server.asked(), 1, "{host}");
            let _ = resolver.lookup(host).await;
            assert_eq!(server.asked(), 2, "{host}");
        }
    }

    #[tokio::test]
    async fn a_lookup_that_was_given_up_keeps_its_place_and_answers_whoever_comes() {
        let (resolver, server) = resolver();
        let first = started(resolver.lookup("dead.example")).await;
        let second = started(resolver.lookup("dead.example")).await;
        drop(first);
        drop(second);
        assert_eq!(free(&resolver), LOOKUPS_MAX - 1);
        let third = started(resolver.lookup("dead.example")).await;
        let fourth = started(resolver.lookup("dead.example")).await;
        drop(third);
        server.wake(true);
        assert_eq!(fourth.await.unwrap(), [ADDRESS]);
        assert_eq!((server.asked(), free(&resolver)), (1, LOOKUPS_MAX));
    }

    #[tokio::test]
    async fn a_dead_name_takes_one_place_however_many_ask_for_it() {
        let (resolver, server) = resolver();
        for _ in 0..2 * LOOKUPS_MAX {
            drop(started(resolver.lookup("dead.example")).await);
        }
        assert_eq!(free(&resolver), LOOKUPS_MAX - 1);
        assert_eq!(resolver.lookup("api.example").await.unwrap(), [ADDRESS]);
        server.wake(true);
    }

    #[tokio::test]
    async fn no_more_are_begun_than_there_are_places_and_none_for_who_has_gone() {
        let (resolver, server) = resolver();
        let names: Vec<String> = (0..=LOOKUPS_MAX).map(|number| format!("dead{number}.example")).collect();
        let mut waiting = Vec::new();
        for name in &names {
            waiting.push(started(resolver.lookup(name)).await);
        }
        assert_eq!(free(&resolver), 0);
        drop(waiting.pop());
        server.wake(true);
        for lookup in waiting {
            assert_eq!(lookup.await.unwrap(), [ADDRESS]);
        }
        assert_eq!((server.asked(), free(&resolver)), (LOOKUPS_MAX, LOOKUPS_MAX));
        assert_eq!(resolver.lookup(&names[LOOKUPS_MAX]).await.unwrap(), [ADDRESS]);
    }

    #[tokio::test]
    async fn one_that_breaks_down_is_an_error_and_over() {
        let (resolver, server) = resolver();
        for asked in 1..=2 {
            assert!(resolver.lookup("broken.example").await.is_err());
            assert_eq!((server.asked(), free(&resolver)), (asked, LOOKUPS_MAX));
        }
    }

    #[tokio::test]
    async fn the_system_is_asked() {
        let found = SystemResolver::default().lookup("127.0.0.1").await.unwrap();
        assert_eq!(found, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
    }
}
