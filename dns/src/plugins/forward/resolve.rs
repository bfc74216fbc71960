//! Where upstreams are: addresses, and the names and interfaces that stand for some.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    sync::Arc,
    time::Duration,
};

use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RData, RecordType},
    serialize::binary::BinDecodable,
};
use tokio::time::timeout;

use super::{
    config::Config,
    message::Outgoing,
    udp::UdpPool,
    upstream::{Target, Transport},
};
use crate::corefile::domain::Domain;

/// The machine's resolver answers within this time.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why it is not known where an upstream is.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No such interface.
    #[error("there is no interface called `{0}`")]
    NoInterface(Arc<str>),
    /// The name has no address.
    #[error("failed to resolve `{name}`: {what}")]
    Name {
        /// Which.
        name: Domain,
        /// What the last resolver said.
        what: String,
    },
}

/// Every upstream of `config` with its address, in order, no two alike.
///
/// # Errors
/// The first that can't be found.
pub async fn upstreams(config: &Config) -> Result<Vec<(SocketAddr, Transport)>, ResolveError> {
    let mut found: Vec<(SocketAddr, Transport)> = Vec::new();
    for upstream in &config.upstreams {
        for address in addresses(&upstream.target, config).await? {
            let one = (address, upstream.transport.clone());
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    Ok(found)
}

/// A name from a Corefile, for messages.
pub fn message_name(domain: &Domain) -> Name {
    Name::from_bytes(&domain.to_wire()).expect("a checked name")
}

async fn addresses(target: &Target, config: &Config) -> Result<Vec<SocketAddr>, ResolveError> {
    match target {
        Target::Ip(address) => Ok(vec![*address]),
        Target::Scoped { ip, interface, port } => {
            let index = if_addrs::get_if_addrs().ok().and_then(|all| {
                all.into_iter().find(|found| found.name == **interface).and_then(|i| i.index)
            });
            let index = index.ok_or_else(|| ResolveError::NoInterface(Arc::clone(interface)))?;
            Ok(vec![SocketAddrV6::new(*ip, *port, 0, index).into()])
        }
        Target::Name { name, port } => {
            let found = match config.resolvers.is_empty() {
                true => by_machine(name).await,
                false => by_resolvers(name, config).await,
            };
            match found {
                Ok(found) if !found.is_empty() => {
                    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, *port)).collect())
                }
                Ok(_) => Err("no addresses found".to_owned()),
                Err(what) => Err(what),
            }
            .map_err(|what| ResolveError::Name { name: name.clone(), what })
        }
    }
}

async fn by_machine(name: &Domain) -> Result<Vec<IpAddr>, String> {
    let found = timeout(PATIENCE, tokio::net::lookup_host((name.as_str(), 0)));
    let found = found.await.map_err(|_| "no answer in time".to_owned())?;
    let mut all: Vec<IpAddr> = found.map_err(|error| error.to_string())?.map(|a| a.ip()).collect();
    all.dedup();
    Ok(all)
}

async fn by_resolvers(name: &Domain, config: &Config) -> Result<Vec<IpAddr>, String> {
    let mut last = Ok(Vec::new());
    for resolver in &config.resolvers {
        let pool = UdpPool::new(*resolver, config.connections);
        let (v4, v6) = futures::join!(
            ask_for(&pool, name, RecordType::A, config),
            ask_for(&pool, name, RecordType::AAAA, config)
        );
        // One family is enough.
        let found = match (v4, v6) {
            (Ok(mut v4), Ok(v6)) => {
                v4.extend(v6);
                Ok(v4)
            }
            (Ok(found), Err(_)) | (Err(_), Ok(found)) if !found.is_empty() => Ok(found),
            (Err(error), _) | (_, Err(error)) => Err(format!("{resolver}: {error}")),
        };
        match found {
            Ok(found) if !found.is_empty() => return Ok(found),
            found => last = found,
        }
    }
    last
}

async fn ask_for(
    pool: &UdpPool,
    name: &Domain,
    rtype: RecordType,
    config: &Config,
) -> Result<Vec<IpAddr>, String> {
    let mut message = Message::query();
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(message_name(name), rtype));
    let query = Outgoing::new(&message).map_err(|error| error.to_string())?;
    let asked = pool.ask(&query, config.connections.read_timeout, true).await;
    let reply = asked.reply.map_err(|error| error.to_string())?;
    let address = |data: &RData| match data {
        RData::A(a) => Some(IpAddr::V4(a.0)),
        RData::AAAA(a) => Some(IpAddr::V6(a.0)),
        _ => None,
    };
    Ok(reply.answers.iter().filter_map(|record| address(&record.data)).collect())
}
