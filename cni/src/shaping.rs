//! Rate limits by the kernel's token bucket filter (tc-tbf(8)): what goes into the pod waits at the
//! host's end of its veth, what comes out waits at the pod's own end.
//!
//! The latter is inside the pod, so one with CAP_NET_ADMIN could take it off; but it needs no second
//! device, and a pod that sends too much is slowed down where it sends.

use daymark_cni_spec::{CniError, configuration::Rates};
use netlink_packet_core::DefaultNla;
use netlink_packet_route::{
    RouteNetlinkMessage,
    tc::{TcAttribute, TcHandle, TcMessage, TcOption},
};

use crate::{
    netlink::{Connection, Step},
    wiring,
};

/// Attributes of tbf (linux/pkt_sched.h).
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
/// `TC_LINKLAYER_ETHERNET`: the kernel reckons itself and needs no table.
const ETHERNET: u8 = 1;
/// Bursts from here on, in bits, were not chosen by anybody: runtimes have to give one, and where a pod's
/// annotation has none containerd gives `math.MaxUint32`, others a larger number. Taken at its word it is
/// half a gigabyte before the limit shows.
const UNCHOSEN: u64 = i32::MAX as u64;
/// What such a burst becomes: what the rate lets through in 1/10 s, and at least two of the largest packets
/// that the stack makes, in octets.
const BURSTS_PER_SECOND: u64 = 10;
const LEAST_BURST: u64 = 2 * 64 * 1024;
/// How long a packet may wait, as the reference bandwidth plugin has it: 1/40 s.
const WAITS_PER_SECOND: u64 = 40;

/// Limits a pair of links; a rate of 0 is no limit.
pub(crate) fn limit(
    host: &Connection,
    host_link: u32,
    pod: &Connection,
    pod_link: u32,
    rates: Rates,
) -> Result<(), CniError> {
    let directions = [
        (host, host_link, rates.ingress_rate, rates.ingress_burst),
        (pod, pod_link, rates.egress_rate, rates.egress_burst),
    ];
    for (side, link, rate, burst) in directions.into_iter().filter(|(_, _, rate, _)| *rate != 0) {
        let bucket = RouteNetlinkMessage::NewQueueDiscipline(bucket(link, rate, burst));
        let step = Step::replace(format!("limiting link {link} to {rate} bit/s"), bucket);
        side.run(vec![step]).map_err(wiring::refused)?;
    }
    Ok(())
}

/// Rate and burst in octets, from bits.
fn octets(rate: u64, burst: u64) -> (u64, u64) {
    let rate = rate / 8;
    match burst {
        UNCHOSEN.. => (rate, (rate / BURSTS_PER_SECOND).max(LEAST_BURST)),
        _ => (rate, burst / 8),
    }
}

/// A bucket as the link's only queue. Bits on the outside, octets in the kernel.
fn bucket(link: u32, rate: u64, burst: u64) -> TcMessage {
    let (rate, burst) = octets(rate, burst);
    let clamp = |octets: u64| u32::try_from(octets).unwrap_or(u32::MAX);
    // struct tc_tbf_qopt: two struct tc_ratespec (of which the second, the peak, is not used), then
    // the queue's limit in octets, and sizes that the attributes below give better.
    let mut parameters = Vec::with_capacity(36);
    parameters.extend([0, ETHERNET]);
    parameters.extend([0; 6]);
    parameters.extend(clamp(rate).to_ne_bytes());
    parameters.extend([0; 12]);
    let limit = burst.saturating_add(rate / WAITS_PER_SECOND);
    parameters.extend(clamp(limit).to_ne_bytes());
    parameters.extend([0; 8]);
    let option = |kind, value: &[u8]| TcOption::Other(DefaultNla::new(kind, value.to_vec()));
    let mut options = vec![
        option(TCA_TBF_PARMS, &parameters),
        option(TCA_TBF_BURST, &clamp(burst).to_ne_bytes()),
    ];
    if u32::try_from(rate).is_err() {
        options.push(option(TCA_TBF_RATE64, &rate.to_ne_bytes()));
    }
    let mut message = TcMessage::default();
    message.header.index = i32::try_from(link).unwrap_or_default();
    message.header.parent = TcHandle::ROOT;
    message.header.handle = TcHandle { major: 1, minor: 0 };
    message.attributes = vec![TcAttribute::Kind("tbf".to_owned()), TcAttribute::Options(options)];
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_as_it_was_chosen_or_follows_from_the_rate() {
        for (rate, burst, expected) in [
            (8_000_000, 800_000, (1_000_000, 100_000)),
            (800_000_000, u64::from(u32::MAX), (100_000_000, 10_000_000)),
            (8_000_000, i32::MAX as u64, (1_000_000, 131_072)),
        ] {
            assert_eq!(octets(rate, burst), expected, "{rate} {burst}");
        }
    }
}
