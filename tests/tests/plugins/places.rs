//! Placeholders: what stands for a port, a file, an address.

use std::{
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::Context;
use daymark_tests::{ports, rules::Case};

use super::{Side, data::Shown};

/// What the placeholders of one trial stand for.
pub(super) struct Places {
    values: Vec<(String, String)>,
    ports: HashMap<String, u16>,
    pub(super) metrics: SocketAddr,
}

impl Places {
    pub(super) fn new(shown: &Shown, side: &Side, folder: &Path, upstream: SocketAddr) -> Self {
        let loopback = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut ports = HashMap::from([("default".to_owned(), ports::free())]);
        let texts = shown.files.values().chain([&shown.corefile]);
        for named in texts.flat_map(|text| text.split("@PORT:").skip(1)) {
            let name = named.split('@').next().unwrap_or_default();
            ports.entry(name.to_owned()).or_insert_with(ports::free);
        }
        let metrics = loopback(ports::free());
        let mut values = vec![
            ("@PORT@".to_owned(), ports["default"].to_string()),
            ("@METRICS@".to_owned(), metrics.port().to_string()),
            ("@DIR@".to_owned(), folder.display().to_string()),
            ("@UPSTREAM@".to_owned(), upstream.to_string()),
            ("@UPSTREAM_PORT@".to_owned(), upstream.port().to_string()),
        ];
        values.extend(side.placeholders.iter().cloned());
        let named = ports.iter().map(|(name, port)| (format!("@PORT:{name}@"), port.to_string()));
        values.extend(named);
        Places { values, ports, metrics }
    }

    pub(super) fn fill(&self, text: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    pub(super) fn fill_case(&self, case: &Case) -> Case {
        let mut case = case.clone();
        let expected = &mut case.expected;
        let sections = [&mut expected.answer, &mut expected.authority, &mut expected.additional];
        let others = expected.options.iter_mut().flatten().chain(&mut expected.first);
        for text in sections.into_iter().flatten().chain(others) {
            *text = self.fill(text);
        }
        case
    }

    pub(super) fn server(&self, name: &str) -> anyhow::Result<SocketAddr> {
        let port = self.ports.get(name).with_context(|| format!("there is no @PORT:{name}@"))?;
        Ok((Ipv4Addr::LOCALHOST, *port).into())
    }
}
