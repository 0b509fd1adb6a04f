//! What each client has: so many connections, and a share of the workers.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

/// Bits of an IPv6 address that name one customer's network.
const IPV6_NETWORK: u128 = !0 << 64;

/// The clients that are connected.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts for its client for as long as this lives.
#[derive(Debug)]
pub(crate) struct Admitted {
    clients: Arc<Clients>,
    client: IpAddr,
}

impl Clients {
    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a connection of `address`, unless it has `most` already.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Admitted> {
        let client = client_of(address);
        let mut counts = self.counts();
        let count = counts.entry(client).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Admitted {
            clients: self.clone(),
            client,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = self.clients.counts();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

/// What counts as one client: an IPv4 address, or an IPv6 network of the size a customer gets.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & IPV6_NETWORK).into(),
        address => address,
    }
}

/// A client's share of the workers.
type Workers = Arc<Semaphore>;

/// The workers each client may have at once: one that is slow, or has many requests, leaves some to
/// others.
#[derive(Debug)]
pub(crate) struct Shares {
    clients: Mutex<HashMap<IpAddr, Workers>>,
    most: usize,
    queue: Queue,
}

/// One of the workers a client may have. Given back when dropped.
#[derive(Debug)]
pub struct Share {
    _permit: OwnedSemaphorePermit,
}

impl Shares {
    /// Each client may have `most`, and `queue` requests may wait for theirs.
    pub(crate) fn new(most: usize, queue: usize) -> Arc<Self> {
        Arc::new(Self {
            clients: Mutex::default(),
            most,
            queue: Queue::new(queue),
        })
    }

    /// Waits until the client at `address` may have one more worker; none when that takes too long,
    /// or too many requests wait.
    pub(crate) async fn take(&self, address: IpAddr, deadline: Instant) -> Option<Share> {
        let workers = {
            let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
            // Those who have none and wait for none: permits and waiting requests count, too.
            clients.retain(|_, workers| Arc::strong_count(workers) > 1);
            let new = || Arc::new(Semaphore::new(self.most));
            clients
                .entry(client_of(address))
                .or_insert_with(new)
                .clone()
        };
        let _permit = self.queue.acquire(workers, deadline).await?;
        Some(Share { _permit })
    }
}

/// Requests that wait for something there is only so much of.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: AtomicUsize,
    most: usize,
}

impl Queue {
    /// At most `most` may wait.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            most,
        }
    }

    /// Waits for a permit until `deadline`; none if it does not come, or there is no place to wait.
    pub(crate) async fn acquire(
        &self,
        from: Arc<Semaphore>,
        deadline: Instant,
    ) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = from.clone().try_acquire_owned() {
            return Some(permit);
        }
        let place = Place::take(&self.waiting);
        if place.number >= self.most {
            return None;
        }
        timeout_at(deadline, from.acquire_owned()).await.ok()?.ok()
    }
}

/// A place in a queue, given back when dropped.
struct Place<'a> {
    queue: &'a AtomicUsize,
    number: usize,
}

impl<'a> Place<'a> {
    fn take(queue: &'a AtomicUsize) -> Self {
        let number = queue.fetch_add(1, Ordering::Relaxed);
        Self { queue, number }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_client_has_so_many_connections_and_others_have_theirs() {
        let clients = Arc::new(Clients::default());
        let first = clients.admit(address("192.0.2.1"), 2).unwrap();
        let _second = clients.admit(address("::ffff:192.0.2.1"), 2).unwrap();
        assert!(clients.admit(address("192.0.2.1"), 2).is_none());
        assert!(clients.admit(address("192.0.2.2"), 2).is_some());
        drop(first);
        assert!(clients.admit(address("192.0.2.1"), 2).is_some());
    }

    #[test]
    fn addresses_of_one_ipv6_network_are_one_client() {
        let clients = Arc::new(Clients::default());
        let _first = clients.admit(address("2001:db8::1"), 1).unwrap();
        assert!(clients.admit(address("2001:db8::ffff:2"), 1).is_none());
        assert!(clients.admit(address("2001:db8:0:1::1"), 1).is_some());
        assert_eq!(clients.counts().len(), 1);
    }

    #[tokio::test]
    async fn a_client_has_its_share_of_workers_and_others_theirs() {
        let shares = Shares::new(2, 1);
        let soon = || Instant::now() + std::time::Duration::from_millis(20);
        let later = || Instant::now() + std::time::Duration::from_secs(60);
        let one = shares.take(address("192.0.2.1"), soon()).await.unwrap();
        let two = shares.take(address("192.0.2.1"), soon()).await.unwrap();
        assert!(shares.take(address("192.0.2.1"), soon()).await.is_none());
        let other = shares.take(address("192.0.2.2"), soon()).await;
        assert!(other.is_some());
        // One more may wait, and no second one.
        let waiting = {
            let shares = shares.clone();
            tokio::spawn(async move { shares.take(address("192.0.2.1"), later()).await })
        };
        while shares.queue.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(shares.take(address("192.0.2.1"), later()).await.is_none());
        drop(one);
        let third = waiting.await.unwrap();
        assert!(third.is_some());
        drop((two, third, other));
        let _last = shares.take(address("192.0.2.3"), soon()).await;
        assert_eq!(shares.clients.lock().unwrap().len(), 1);
    }
}
