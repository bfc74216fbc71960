//! Who may have something done: a bound on what is under way, shared fairly between clients.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use dashmap::{DashMap, Entry};

/// Below this bound shares would be too small: all of [`Admission::open`] goes to whoever comes first.
const SHARED_FROM: usize = 64;

/// What is under way, by client: queries or connections.
///
/// What is turned away is the newest of the greediest client. Once places are scarce, a client gets
/// its equal share of all among those that have something under way, one place being counted for
/// somebody who has nothing yet.
pub struct Admission {
    room: usize,
    /// Places are scarce once so many are taken.
    scarce_from: usize,
    taken: AtomicUsize,
    clients: DashMap<IpAddr, usize, foldhash::fast::RandomState>,
}

/// A place, given back when dropped.
pub struct Place {
    admission: Arc<Admission>,
    client: IpAddr,
}

impl Admission {
    /// Room for `room` at once, always shared: no client has more than half of it.
    pub fn new(room: usize) -> Arc<Self> {
        Admission::scarce_from(room, 0)
    }

    /// Room for `room` at once, the last eighth of it for clients that hold less than an equal share.
    /// So a single client comes near to the bound, and with a small one reaches it.
    pub fn open(room: usize) -> Arc<Self> {
        let kept = if room < SHARED_FROM { 0 } else { room / 8 };
        Admission::scarce_from(room, room - kept)
    }

    fn scarce_from(room: usize, scarce_from: usize) -> Arc<Self> {
        let clients = DashMap::with_hasher(foldhash::fast::RandomState::default());
        Arc::new(Admission { room, scarce_from, taken: AtomicUsize::new(0), clients })
    }

    /// A place for `client`; `None` if it has its share already or there is no room.
    pub fn admit(self: &Arc<Self>, client: IpAddr) -> Option<Place> {
        let before = self.taken.fetch_add(1, Relaxed);
        if before >= self.room || !self.count(client, before >= self.scarce_from) {
            self.taken.fetch_sub(1, Relaxed);
            return None;
        }
        Some(Place { admission: Arc::clone(self), client })
    }

    /// Counts one more for `client`, unless places are scarce and it has its share.
    fn count(&self, client: IpAddr, scarce: bool) -> bool {
        let share = self.room / (self.clients.len() + 1);
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

    /// Whether half of the room is taken.
    pub fn is_busy(&self) -> bool {
        self.taken() >= self.room / 2
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.taken.fetch_sub(1, Relaxed);
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

    /// So many places for a client as there are, up to `times`.
    fn take(admission: &Arc<Admission>, client: u8, times: usize) -> Vec<Place> {
        (0..times).map_while(|_| admission.admit([10, 0, 0, client].into())).collect()
    }

    #[test]
    fn a_flood_from_one_client_leaves_room_for_another() {
        let admission = Admission::new(100);
        let flood = take(&admission, 1, 1000);
        assert_eq!(flood.len(), 50);
        let quiet = take(&admission, 2, 33);
        assert_eq!(quiet.len(), 33, "the quiet client has its own share");
        assert!(take(&admission, 1, 1).is_empty());
        drop((flood, quiet));
        assert_eq!(admission.taken(), 0);
        assert!(admission.clients.is_empty());
    }

    #[test]
    fn a_small_bound_is_exact_for_a_single_client_of_an_open_one() {
        let admission = Admission::open(2);
        let held = take(&admission, 1, 10);
        assert_eq!(held.len(), 2);
        drop(held);
        assert_eq!(take(&admission, 1, 10).len(), 2);
        assert!(admission.clients.is_empty());
    }

    #[test]
    fn greedy_clients_of_an_open_bound_leave_room_for_quiet_ones() {
        let admission = Admission::open(800);
        let greedy = take(&admission, 1, 1000);
        assert_eq!(greedy.len(), 700);
        assert_eq!(take(&admission, 2, 100).len(), 100, "the quiet client gets what was kept");
        drop(greedy);
        let mut both: Vec<Place> = Vec::new();
        for _ in 0..1000 {
            both.extend(take(&admission, 1, 1));
            both.extend(take(&admission, 2, 1));
        }
        assert_eq!((both.len(), take(&admission, 3, 100).len()), (700, 100));
    }

    #[test]
    fn the_bound_holds_whatever_the_number_of_clients() {
        for admission in [Admission::new(80), Admission::open(80)] {
            let held: Vec<Place> =
                (0..200).flat_map(|client| take(&admission, client, 1)).collect();
            assert_eq!(held.len(), 80);
        }
    }
}
