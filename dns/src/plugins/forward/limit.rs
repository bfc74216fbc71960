//! How many queries may be under way, and whose are refused first.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use dashmap::{DashMap, Entry};

/// Below this bound every place goes to whoever comes first: shares would be too small.
const SHARED_FROM: usize = 64;

/// Places for queries. `max_concurrent` is exact, as in CoreDNS; but once only an eighth of the
/// places is left, those go to clients that hold less than an equal share.
pub struct Limit {
    most: usize,
    taken: AtomicUsize,
    clients: DashMap<IpAddr, usize, foldhash::fast::RandomState>,
}

/// A place, given back when dropped.
pub struct Place {
    limit: Arc<Limit>,
    client: IpAddr,
}

impl Limit {
    /// Places for `most` queries.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Limit {
            most,
            taken: AtomicUsize::new(0),
            clients: DashMap::with_hasher(foldhash::fast::RandomState::default()),
        })
    }

    /// A place for a query of `client`, if there is one.
    pub fn take(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let before = self.taken.fetch_add(1, Relaxed);
        if before >= self.most || !self.count(client, before) {
            self.taken.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Place { limit: Arc::clone(self), client })
    }

    fn count(&self, client: IpAddr, taken: usize) -> bool {
        let reserved = if self.most < SHARED_FROM { 0 } else { self.most / 8 };
        let scarce = taken >= self.most - reserved;
        let share = self.most / (self.clients.len() + 1);
        match self.clients.entry(client) {
            Entry::Occupied(held) if scarce && *held.get() >= share => false,
            Entry::Occupied(mut held) => {
                *held.get_mut() += 1;
                true
            }
            Entry::Vacant(free) => {
                free.insert(1);
                true
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limit.taken.fetch_sub(1, Relaxed);
        if let Entry::Occupied(mut held) = self.limit.clients.entry(self.client) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(limit: &Arc<Limit>, client: u8, times: usize) -> Vec<Place> {
        (0..times).map_while(|_| limit.take([10, 0, 0, client].into())).collect()
    }

    #[test]
    fn a_small_bound_is_exact_for_a_single_client() {
        let limit = Limit::new(2);
        let held = take(&limit, 1, 10);
        assert_eq!(held.len(), 2);
        drop(held);
        assert_eq!(take(&limit, 1, 10).len(), 2);
        assert!(limit.clients.is_empty());
    }

    #[test]
    fn greedy_clients_leave_room_for_quiet_ones() {
        let limit = Limit::new(800);
        let greedy = take(&limit, 1, 1000);
        assert_eq!(greedy.len(), 700);
        assert_eq!(take(&limit, 2, 100).len(), 100, "the quiet client gets what was kept");
        drop(greedy);
        let mut both: Vec<Place> = Vec::new();
        for _ in 0..1000 {
            both.extend(take(&limit, 1, 1));
            both.extend(take(&limit, 2, 1));
        }
        assert_eq!((both.len(), take(&limit, 3, 100).len()), (700, 100));
    }

    #[test]
    fn the_bound_holds_whatever_the_number_of_clients() {
        let limit = Limit::new(80);
        let held: Vec<_> =
            (0..200u8).filter_map(|client| limit.take([10, 0, 0, client].into())).collect();
        assert_eq!(held.len(), 80);
    }
}
