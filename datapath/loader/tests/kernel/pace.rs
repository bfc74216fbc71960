//! Rates of pods, by the times that their packets are given. Whether something holds them to it (fq)
//! is the device's affair, and not seen here.

use daymark_abi::{DropReason, endpoint::HORIZON};
use daymark_loader::{Bandwidth, Datapath, NodeSettings};

use crate::{
    frame::{Body, Frame},
    lab::Node,
};

#[test]
fn packets_of_a_pod_with_a_rate_depart_at_that_rate_up_to_the_horizon() {
    if !crate::runs_here() {
        return;
    }
    let node = Node::new(14);
    const RATE: u64 = 10_000;
    let pod = node.pod_with(5, Bandwidth { ingress: None, egress: Some(RATE) });
    let free = node.pod(6);
    node.space.within(|| {
        node.kernel.configure(&NodeSettings::default()).expect("configured");
        let frame = |pod: &crate::lab::Pod| Frame {
            source_mac: pod.endpoint.pod_mac,
            destination_mac: pod.endpoint.host_mac,
            source: pod.v4,
            destination: [192, 0, 2, 1].into(),
            hops: 63,
            body: Body::Udp { source: 1, destination: 2 },
        };
        let octets = frame(&pod).octets();
        let run = || node.kernel.try_packet("to_wire", 1, &octets, 1).expect("run");
        let step = octets.len() as u64 * 8 * 1_000_000_000 / RATE;
        assert_eq!(run().departs, 0, "nothing is paced where nothing holds it");
        node.kernel.set_pacing(true).expect("set");
        node.kernel.configure(&NodeSettings::default()).expect("configured");
        let first = run().departs;
        let mut last = first;
        let mut sent = 1;
        loop {
            let outcome = run();
            if outcome.action == 2 {
                break;
            }
            assert_eq!(outcome.departs, last + step, "each departs when the one before it has");
            last = outcome.departs;
            sent += 1;
        }
        // The horizon moves on by the time that this took.
        assert!(last + step > first + HORIZON && sent as u64 >= HORIZON / step, "{sent} packets");
        assert_eq!(node.dropped(DropReason::REACHED_EDT_RATE_LIMITING_DROP_HORIZON), 1);
        let unlimited = node.kernel.try_packet("to_wire", 1, &frame(&free).octets(), 1);
        assert_eq!(unlimited.expect("run").departs, 0);
    });
}
