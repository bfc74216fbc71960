//! Programs and filters that somebody put at a link: tc filters and XDP. TCX's the kernel tells elsewhere.

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{LinkAttribute, LinkMessage, LinkXdp},
    tc::{TcAttribute, TcFilterBpfOption, TcHandle, TcMessage, TcOption},
};
use rustix::io::Errno;

use super::{Connection, NetlinkError, Step};

/// Where filters of the ingress and clsact queueing disciplines stand (linux/pkt_sched.h,
/// `TC_H_CLSACT` with `TC_H_MIN_INGRESS` and `TC_H_MIN_EGRESS`).
const PLACES: [(&str, TcHandle); 2] = [
    ("in", TcHandle { major: 0xffff, minor: 0xfff2 }),
    ("out", TcHandle { major: 0xffff, minor: 0xfff3 }),
];

impl Connection {
    /// The filters and XDP programs at a link, in words; filters of one priority are left out, for they
    /// are ours.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub(crate) fn programs_at(&self, index: u32, own: u16) -> Result<Vec<String>, NetlinkError> {
        let mut found = Vec::new();
        for (side, parent) in PLACES {
            let mut ask = TcMessage::with_index(i32::try_from(index).unwrap_or(i32::MAX));
            ask.header.parent = parent;
            let what = "listing filters";
            let told = match self.dump(what, RouteNetlinkMessage::GetTrafficFilter(ask)) {
                // There is no such discipline.
                Err(error) if error.is(&[Errno::INVAL, Errno::NOENT]) => continue,
                told => told?,
            };
            found.extend(told.iter().filter_map(|told| filter(told, side, own)));
        }
        let mut get = LinkMessage::default();
        get.header.index = index;
        let get = Step::plain("looking for programs", RouteNetlinkMessage::GetLink(get));
        found.extend(self.run(vec![get.tolerate(&[Errno::NODEV])])?.iter().filter_map(xdp));
        Ok(found)
    }
}

/// A filter in words. Each chain of them is told of by an entry of its own too, which has no handle.
fn filter(told: &RouteNetlinkMessage, side: &str, own: u16) -> Option<String> {
    let RouteNetlinkMessage::NewTrafficFilter(message) = told else { return None };
    let priority = message.header.info >> 16;
    if priority == u32::from(own) || message.header.handle == TcHandle::default() {
        return None;
    }
    let kind = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Kind(kind) => Some(kind.as_str()),
        _ => None,
    });
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        TcAttribute::Options(options) => options.iter().find_map(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgName(name)) => Some(format!(" {name}")),
            _ => None,
        }),
        _ => None,
    });
    let (kind, name) = (kind.unwrap_or("unknown"), name.unwrap_or_default());
    Some(format!("tc filter {kind}{name} of priority {priority} on what goes {side}"))
}

fn xdp(told: &RouteNetlinkMessage) -> Option<String> {
    let RouteNetlinkMessage::NewLink(message) = told else { return None };
    let xdp = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Xdp(xdp) => Some(xdp),
        _ => None,
    })?;
    xdp.iter().find_map(|fact| match fact {
        LinkXdp::ProgId(id) => Some(format!("XDP program (id {id})")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::XdpAttached;

    use super::*;

    #[test]
    fn filters_of_others_and_xdp_are_told() {
        let of = |priority: u32, handle: u16, options: Vec<TcOption>| {
            let mut message = TcMessage::with_index(2);
            message.header.info = priority << 16;
            message.header.handle = TcHandle { major: 0, minor: handle };
            message.attributes =
                vec![TcAttribute::Kind("bpf".to_owned()), TcAttribute::Options(options)];
            filter(&RouteNetlinkMessage::NewTrafficFilter(message), "in", 3000)
        };
        let name = || vec![TcOption::Bpf(TcFilterBpfOption::ProgName("watch".to_owned()))];
        assert_eq!(
            of(10, 1, name()).as_deref(),
            Some("tc filter bpf watch of priority 10 on what goes in")
        );
        assert_eq!(of(3000, 1, name()), None, "ours");
        assert_eq!(of(10, 0, Vec::new()), None, "a chain");
        let mut link = LinkMessage::default();
        link.attributes = vec![LinkAttribute::Xdp(vec![
            LinkXdp::Attached(XdpAttached::Driver),
            LinkXdp::ProgId(7),
        ])];
        assert_eq!(xdp(&RouteNetlinkMessage::NewLink(link)).as_deref(), Some("XDP program (id 7)"));
    }
}
