//! Where zones to be transferred come from.

use std::sync::Arc;

use hickory_proto::rr::{Name, Record, RecordType};

use crate::{
    authority::{ZoneData, held::Held},
    plugin::ZoneRecords,
};

/// A plugin that has zones.
pub trait Source: Send + Sync {
    /// The zone of exactly this name, as it is now; `None` inside if it has no usable state. `None` if the plugin
    /// has no such zone.
    fn zone(&self, name: &Name) -> Option<Option<Outgoing>>;
}

/// One state of a zone.
pub struct Outgoing {
    /// Its SOA record.
    pub soa: Record,
    /// Makes all other records, from the beginning.
    pub records: Box<dyn Fn() -> ZoneRecords + Send + Sync>,
}

/// The zone called `name` among those of a plugin.
pub fn held(zones: &[Arc<Held>], name: &Name) -> Option<Option<Outgoing>> {
    let zone = zones.iter().find(|zone| zone.name == *name)?;
    Some(zone.current().map(of_data))
}

/// A zone from a file or another server, in canonical order.
fn of_data(data: Arc<ZoneData>) -> Outgoing {
    let soa = data.soa_record(data.origin().clone());
    let records = move || {
        let data = Arc::clone(&data);
        let count = data.nodes().len();
        let nodes = (0..count).flat_map(move |index| records_at(&data, index));
        Box::new(nodes) as ZoneRecords
    };
    Outgoing { soa, records: Box::new(records) }
}

/// The records of one name, but the zone's SOA.
fn records_at(data: &ZoneData, index: usize) -> Vec<Record> {
    let Some(node) = data.nth(index) else { return Vec::new() };
    let name = node.name();
    let sets = node.sets().filter(|set| set.rtype != RecordType::SOA);
    let records = sets.flat_map(|set| {
        let name = &name;
        set.records().map(move |(ttl, data)| Record::from_rdata(name.clone(), ttl, data))
    });
    records.collect()
}
