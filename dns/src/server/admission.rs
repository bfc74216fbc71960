//! Who may go the long way: a bound on the work in flight, shared fairly between clients.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use dashmap::{DashMap, Entry};

/// Queries in flight on the long way, by client.
///
/// What is turned away is the newest query of the greediest client: a client gets its equal share
/// of the room among those that have something in flight, and one place is always kept for one more.
pub struct Admission {
    room: usize,
    in_flight: AtomicUsize,
    clients: DashMap<IpAddr, usize, foldhash::fast::RandomState>,
}

/// A place on the long way, given back when dropped.
pub struct Place {
    admission: Arc<Admission>,
    client: IpAddr,
}

impl Admission {
    /// Room for `room` queries at once.
    pub fn new(room: usize) -> Arc<Self> {
        Arc::new(Admission {
            room,
            in_flight: AtomicUsize::new(0),
            clients: DashMap::with_hasher(foldhash::fast::RandomState::default()),
        })
    }

    /// A place for a query of `client`; `None` if it has its share already or there is no room.
    pub fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        if self.in_flight.load(Relaxed) >= self.room {
            return None;
        }
        let share = self.room / (self.clients.len() + 1);
        match self.clients.entry(client) {
            Entry::Occupied(mut held) if *held.get() < share.max(1) => *held.get_mut() += 1,
            Entry::Occupied(_) => return None,
            Entry::Vacant(free) => {
                free.insert(1);
            }
        }
        self.in_flight.fetch_add(1, Relaxed);
        Some(Place { admission: Arc::clone(self), client })
    }

    /// Queries in flight.
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.in_flight.fetch_sub(1, Relaxed);
        if let Entry::Occupied(mut held) = self.admission.clients.entry(self.client) {
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

    #[test]
    fn a_flood_from_one_client_leaves_room_for_another() {
        let admission = Admission::new(100);
        let (flood, quiet) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let held: Vec<_> = (0..1000).map_while(|_| admission.admit(flood)).collect();
        assert_eq!(held.len(), 50);
        let own: Vec<_> = (0..33).map_while(|_| admission.admit(quiet)).collect();
        assert_eq!(own.len(), 33, "the quiet client has its own share");
        assert!(admission.admit(flood).is_none());
        drop(held);
        drop(own);
        assert_eq!(admission.in_flight(), 0);
        assert!(admission.clients.is_empty());
    }

    #[test]
    fn the_bound_holds_whatever_the_number_of_clients() {
        let admission = Admission::new(10);
        let held: Vec<_> =
            (0..200u8).filter_map(|n| admission.admit([10, 0, 0, n].into())).collect();
        assert_eq!(held.len(), 10);
    }
}
