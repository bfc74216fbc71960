use std::{
    fs,
    path::{Path, PathBuf},
};

use hickory_proto::{
    op::{OpCode, ResponseCode},
    rr::RecordType,
};

use super::*;
use crate::authority::master;
use crate::plugins::stand_in::{Chained, query};

const HEAD: &str = "$TTL 60\n@ SOA ns root 1 60 60 60 30\n@ NS ns\nns A 10.0.0.1\n";

/// A plugin under test that the test keeps hold of.
struct Shared(Arc<File>);

impl Plugin for Shared {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.0.serve(query, next)
    }
}

fn settings(path: &Path, zones: &[&str], reload: Duration) -> Config {
    let zones = zones.iter().map(|zone| {
        let domain = Domain::parse(zone).unwrap();
        let origin = crate::wire::text::name(zone).unwrap();
        let loaded = master::load(origin, path, &|path| fs::read(path));
        (domain, loaded.ok().map(|loaded| Arc::new(loaded.zone)))
    });
    let file = config::File { path: path.to_owned(), zones: zones.collect(), reload };
    Config { files: vec![file], fallthrough: vec![Domain::parse("sub.b.test").unwrap()] }
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("daymark-file-{}-{name}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn a_name_belongs_to_its_longest_zone_or_to_the_next_plugin() {
    let path = folder("zones").join("db");
    fs::write(&path, HEAD).unwrap();
    let plugin = File::start(&settings(&path, &["a.test", "b.test"], Duration::ZERO), None);
    let server = Chained::failing(Shared(plugin));
    let code = async |name: &str, rtype| {
        let outcome = server.serve(&query(name, rtype)).await;
        outcome.map(|answer| answer.code()).map_err(|failure| failure.code)
    };
    assert_eq!(code("ns.A.test.", RecordType::A).await, Ok(ResponseCode::NoError));
    assert_eq!(code("x.b.test.", RecordType::A).await, Ok(ResponseCode::NXDomain));
    assert_eq!(code("b.test.", RecordType::AXFR).await, Err(ResponseCode::Refused));
    assert!(server.seen().is_empty());
    assert_eq!(code("x.sub.b.test.", RecordType::A).await, Err(ResponseCode::ServFail));
    assert_eq!(code("c.test.", RecordType::A).await, Err(ResponseCode::ServFail));
    assert_eq!(server.seen().len(), 2, "a missing name in fallthrough, and another zone");

    let mut notify = query("b.test.", RecordType::SOA);
    Arc::make_mut(&mut notify.message).metadata.op_code = OpCode::Notify;
    assert_eq!(server.serve(&notify).await.unwrap().code(), ResponseCode::NotAuth);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}
