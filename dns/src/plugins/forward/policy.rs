//! In which order upstreams are tried.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use rand::seq::SliceRandom;

use super::{config::Policy, health::State};

/// A policy, and where it stands.
#[derive(Debug)]
pub struct Turns {
    policy: Policy,
    next: AtomicUsize,
}

/// Upstreams to try for one query, by number.
#[derive(Debug, PartialEq, Eq)]
pub enum Order {
    /// These, one after the other and then again.
    These(Vec<usize>),
    /// All are down; this one is tried on the chance that the checks are wrong.
    AllDown(usize),
    /// There is none.
    Nobody,
}

impl Turns {
    /// Turns from the first upstream on.
    pub fn new(policy: Policy) -> Self {
        Turns { policy, next: AtomicUsize::new(0) }
    }

    /// The order for the next query. What is down is left out, what is cut off never comes in; what
    /// is being checked because it failed just now comes last, whatever the policy: the others are
    /// likelier to answer in time.
    pub fn order(&self, states: &[State]) -> Order {
        let mut all: Vec<usize> = (0..states.len()).collect();
        match self.policy {
            Policy::Random => all.shuffle(&mut rand::rng()),
            Policy::RoundRobin if !all.is_empty() => {
                let turn = self.next.fetch_add(1, Relaxed) % all.len();
                all.rotate_left(turn);
            }
            Policy::RoundRobin | Policy::Sequential => {}
        }
        let in_state = |wanted| all.iter().copied().filter(move |n| states[*n] == wanted);
        let alive: Vec<usize> = in_state(State::Up).chain(in_state(State::Doubtful)).collect();
        if !alive.is_empty() {
            return Order::These(alive);
        }
        let down: Vec<usize> = in_state(State::Down).collect();
        match down.get(rand::random_range(0..down.len().max(1))) {
            Some(one) => Order::AllDown(*one),
            None => Order::Nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use State::{Cut, Doubtful, Down, Up};

    #[test]
    fn each_policy_orders_upstreams_as_it_says() {
        let sequential = Turns::new(Policy::Sequential);
        let robin = Turns::new(Policy::RoundRobin);
        for turn in 0..6 {
            assert_eq!(sequential.order(&[Up, Up, Up]), Order::These(vec![0, 1, 2]));
            let want = [[0, 1, 2], [1, 2, 0], [2, 0, 1]][turn % 3];
            assert_eq!(robin.order(&[Up, Up, Up]), Order::These(want.to_vec()));
        }
        let random = Turns::new(Policy::Random);
        let mut first = [0; 3];
        for _ in 0..300 {
            let Order::These(order) = random.order(&[Up, Up, Up]) else { panic!("all are up") };
            first[order[0]] += 1;
        }
        assert!(first.iter().all(|count| *count > 50), "{first:?}");
    }

    #[test]
    fn down_ones_are_left_out_and_doubtful_ones_come_last() {
        let turns = Turns::new(Policy::Sequential);
        for (states, want) in [
            (vec![Down, Up, Up], Order::These(vec![1, 2])),
            (vec![Doubtful, Up, Down], Order::These(vec![1, 0])),
            (vec![Doubtful, Down, Down], Order::These(vec![0])),
            (vec![Cut, Down, Cut], Order::AllDown(1)),
            (vec![Cut, Up], Order::These(vec![1])),
            (vec![Cut, Cut], Order::Nobody),
        ] {
            assert_eq!(turns.order(&states), want, "{states:?}");
        }
    }

    #[test]
    fn with_all_down_any_of_them_may_be_tried() {
        let turns = Turns::new(Policy::Sequential);
        let mut seen = [false; 2];
        for _ in 0..100 {
            let Order::AllDown(one) = turns.order(&[Down, Down]) else { panic!("all are down") };
            seen[one] = true;
        }
        assert_eq!(seen, [true, true]);
    }
}
