use std::time::Duration;

use hickory_proto::{op::ResponseCode, rr::RecordType};

use super::*;
use crate::{
    corefile::pattern::Pattern,
    plugins::stand_in::{Chained, query},
};

const ZONE: &str = "$TTL 60\n@ SOA ns root 1 60 60 60 30\n@ NS ns\nns A 10.0.0.1\n";

/// A plugin under test that the test keeps hold of.
struct Shared(Arc<Auto>);

impl Plugin for Shared {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        self.0.serve(query, next)
    }
}

#[tokio::test]
async fn the_zones_are_those_of_the_folder() {
    let folder = std::env::temp_dir().join(format!("daymark-auto-{}", std::process::id()));
    fs::create_dir_all(folder.join("deep")).unwrap();
    fs::write(folder.join("x.db.A.test"), ZONE).unwrap();
    fs::write(folder.join("other"), ZONE).unwrap();
    fs::write(folder.join("db.out.other"), ZONE).unwrap();
    fs::write(folder.join("db.bad.test"), "nonsense").unwrap();
    fs::write(folder.join("deep/db.b.test"), ZONE).unwrap();
    let config = Config {
        zones: vec![Domain::parse("test").unwrap()],
        directory: folder.clone(),
        pattern: Pattern::new(r"db\.(.*)").unwrap(),
        template: "${1}".to_owned(),
        reload: Duration::ZERO,
    };
    let auto = Auto::start(&config, None);
    let server = Chained::failing(Shared(Arc::clone(&auto)));
    let code = async |name: &str| {
        let outcome = server.serve(&query(name, RecordType::A)).await;
        outcome.map(|answer| answer.code()).ok()
    };
    for (name, wanted) in [
        ("ns.a.test.", Some(ResponseCode::NoError)),
        ("x.b.test.", Some(ResponseCode::NXDomain)),
        ("ns.bad.test.", None),
        ("ns.out.other.", None),
        ("ns.c.test.", None),
    ] {
        assert_eq!(code(name).await, wanted, "{name}");
    }
    fs::write(folder.join("db.c.test"), ZONE).unwrap();
    fs::remove_file(folder.join("deep/db.b.test")).unwrap();
    fs::write(folder.join("x.db.A.test"), "nonsense").unwrap();
    assert_eq!(auto.look(), [Name::from_ascii("c.test.").unwrap()]);
    assert_eq!(code("ns.c.test.").await, Some(ResponseCode::NoError));
    assert_eq!(code("ns.b.test.").await, None);
    assert_eq!(code("ns.a.test.").await, Some(ResponseCode::NoError), "as it was");
    assert_eq!(auto.names().len(), 3);
    fs::remove_dir_all(folder).unwrap();
}
