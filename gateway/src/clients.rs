//! How many connections each client has.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
}
