//! Links, as the kernel tells of them.

use netlink_packet_route::{
    RouteNetlinkMessage,
    link::{InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage},
};
use rustix::io::Errno;

use super::{Connection, NetlinkError, Step};

/// A link, cut down to what is used.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its MAC; all zero if it has none of six octets.
    pub mac: [u8; 6],
    /// Its MTU in octets.
    pub mtu: u32,
    /// Whether it is up.
    pub is_up: bool,
    /// Whether it is one end of a veth.
    pub is_veth: bool,
    /// Index of a veth's other end, in that one's namespace.
    pub peer: Option<u32>,
}

impl Link {
    fn read(message: LinkMessage) -> Self {
        let mut link = Link {
            index: message.header.index,
            is_up: message.header.flags.contains(LinkFlags::Up),
            ..Link::default()
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Address(mac) => link.mac = mac.try_into().unwrap_or_default(),
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Link(peer) => link.peer = Some(peer),
                LinkAttribute::LinkInfo(infos) => {
                    link.is_veth |= infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                }
                _ => {}
            }
        }
        link
    }

    /// Those among what the kernel told.
    pub(super) fn among(messages: Vec<RouteNetlinkMessage>) -> impl Iterator<Item = Link> {
        messages.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(message) => Some(Link::read(message)),
            _ => None,
        })
    }
}

impl Connection {
    /// All links of the namespace.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let all = RouteNetlinkMessage::GetLink(LinkMessage::default());
        Ok(Link::among(self.dump("listing links", all)?).collect())
    }

    /// A link by name, if there is one.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn link(&self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let get = Step::plain(format!("looking for {name}"), super::message::get_link(name));
        Ok(Link::among(self.run(vec![get.tolerate(&[Errno::NODEV])])?).next())
    }

    /// A link by index, if there is one.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub fn link_at(&self, index: u32) -> Result<Option<Link>, NetlinkError> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let get = RouteNetlinkMessage::GetLink(message);
        let get = Step::plain(format!("looking for link {index}"), get);
        Ok(Link::among(self.run(vec![get.tolerate(&[Errno::NODEV])])?).next())
    }

    /// The UDP port of a tunnel's device that takes peers from packets; `None` if there is no such
    /// device, or it is of another kind.
    pub(crate) fn tunnel_port(&self, name: &str) -> Result<Option<u16>, NetlinkError> {
        let get = Step::plain(format!("looking for {name}"), super::message::get_link(name));
        let told = self.run(vec![get.tolerate(&[Errno::NODEV])])?;
        let attributes = told.into_iter().flat_map(|message| match message {
            RouteNetlinkMessage::NewLink(message) => message.attributes,
            _ => Vec::new(),
        });
        let infos = attributes.flat_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => infos,
            _ => Vec::new(),
        });
        let vxlan: Vec<InfoVxlan> = infos
            .flat_map(|info| match info {
                LinkInfo::Data(InfoData::Vxlan(vxlan)) => vxlan,
                _ => Vec::new(),
            })
            .collect();
        let port = vxlan.iter().find_map(|info| match info {
            InfoVxlan::Port(port) => Some(*port),
            _ => None,
        });
        Ok(port.filter(|_| vxlan.contains(&InfoVxlan::CollectMetadata(true))))
    }

    /// Removes a link; one that is not there is no error.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn delete_link(&self, name: &str) -> Result<(), NetlinkError> {
        let delete = Step::plain(format!("removing {name}"), super::message::delete_link(name));
        self.run(vec![delete.tolerate(&[Errno::NODEV])]).map(drop)
    }

    /// Runs steps and gives the links that the kernel told of.
    pub(crate) fn run_for_links(&self, steps: Vec<Step>) -> Result<Vec<Link>, NetlinkError> {
        Ok(Link::among(self.run(steps)?).collect())
    }
}
