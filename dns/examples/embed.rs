//! A program that embeds the server: with a plugin of its own, and Services that come from nowhere but
//! itself.
//!
//!     cargo run -p daymark-dns --example embed 1053
//!     dig @127.0.0.1 -p 1053 web.shop.svc.cluster.local
//!     dig @127.0.0.1 -p 1053 anything.greet.test TXT

use std::{error::Error, sync::Arc};

use daymark_cluster::{
    Event, Kind, Namespace, Needs, ObjectName, Reader, Service, ServiceKind, Writer, event::Object,
};
use daymark_dns::{
    Builder, ClusterSource, Extension, OpenCluster,
    plugin::{Answer, Next, Outcome, Plugin, Query},
    plugins::kubernetes::config::Api,
    server::cluster_source::ClusterError,
};
use futures::{FutureExt, future::BoxFuture};
use hickory_proto::rr::{RData, Record, RecordType, rdata::TXT};

/// `greet WORD` answers TXT under `greet.test` with a word.
struct Greet {
    word: String,
}

impl Plugin for Greet {
    fn name(&self) -> &'static str {
        "greet"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        let ours = query.name().to_lowercase().to_ascii().ends_with("greet.test.");
        if !ours || query.rtype() != RecordType::TXT {
            return next.serve(query).boxed();
        }
        let mut answer = Answer::to(query);
        let text = format!("{}, {}", self.word, query.origin.client.ip());
        let data = RData::TXT(TXT::new(vec![text]));
        answer.message.answers.push(Record::from_rdata(query.name().clone(), 60, data));
        std::future::ready(Ok(answer)).boxed()
    }
}

/// A cluster with one Service. A real program would keep the writer and tell it of changes.
struct Fixed(Reader);

impl OpenCluster for Fixed {
    fn reader(&self) -> Reader {
        self.0.clone()
    }

    fn trouble(&self) -> Option<String> {
        None
    }
}

struct Services;

impl ClusterSource for Services {
    fn open(&self, _api: &Api, needs: Needs) -> Result<Arc<dyn OpenCluster>, ClusterError> {
        let mut writer = Writer::new(needs.kinds);
        let objects = [
            Object::Namespace(Arc::new(Namespace { name: "shop".into(), labels: [].into() })),
            Object::Service(Arc::new(Service {
                name: ObjectName::new("shop", "web"),
                kind: ServiceKind::Cluster([[10, 96, 0, 7].into()].into()),
                ports: [].into(),
                externals: [].into(),
                labels: [].into(),
            })),
        ];
        let apply = |object| Event::Apply { object, version: 0 };
        // Once all kinds are listed, what is not there does not exist.
        let listed = needs.kinds.iter().map(|kind: Kind| Event::ListDone(kind));
        writer.apply(objects.map(apply).into_iter().chain(listed));
        Ok(Arc::new(Fixed(writer.reader())))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).unwrap_or_else(|| "1053".to_owned());
    let corefile = format!(
        ".:{port} {{\n bind 127.0.0.1\n errors\n greet hello\n kubernetes cluster.local\n}}\n"
    );
    let greet = Extension::new("greet", "kubernetes", |line, cx| {
        let word = cx.one(line, "one word")?.text.to_string();
        Some(Arc::new(Greet { word }))
    });
    let server = Builder::text(corefile).plugin(greet).clusters(Services).start().await?;
    println!("serving on port {port}; Control-C ends it");
    tokio::signal::ctrl_c().await?;
    server.stop().await;
    Ok(())
}
