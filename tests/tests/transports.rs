//! The encrypted transports, with real clients: kdig, curl, and ones on quinn and h3.
#![expect(clippy::unwrap_used, reason = "a test stops where it can go no further")]

mod transports {
    pub(crate) mod served;

    mod certificates;
    mod connections;
    mod forwarding;
    mod tools;
}
