//! Tells clients that ask which server answered (RFC 5001). See README.md.

pub mod config;

use futures::{FutureExt, future::BoxFuture};
use hickory_proto::{
    op::Edns,
    rr::rdata::opt::{EdnsCode, EdnsOption, NSIDPayload},
};

use self::config::Config;
use crate::plugin::{Next, Outcome, Plugin, Query};

/// The `nsid` plugin.
pub struct Nsid {
    option: Option<EdnsOption>,
}

impl Nsid {
    /// A plugin by its settings.
    pub fn new(config: &Config) -> Self {
        let data = config.data.as_deref().map_or_else(machine_name, str::to_owned);
        // What is too long for an option is refused in the Corefile; a machine's name is short.
        Nsid { option: NSIDPayload::new(data.into_bytes()).ok().map(EdnsOption::NSID) }
    }
}

impl Plugin for Nsid {
    fn name(&self) -> &'static str {
        "nsid"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        let asked = |edns: &Edns| edns.option(EdnsCode::NSID).is_some();
        let Some(option) = self.option.clone().filter(|_| query.message.edns.iter().any(asked))
        else {
            return next.serve(query).boxed();
        };
        async move {
            let mut answer = next.serve(query).await?;
            let options = answer.message.edns.get_or_insert_with(Edns::new).options_mut();
            // An upstream may have told its own.
            options.remove(EdnsCode::NSID);
            options.insert(option);
            Ok(answer)
        }
        .boxed()
    }
}

/// The machine's name, `localhost` if it has none.
pub fn machine_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hickory_proto::rr::RecordType;

    use super::*;
    use crate::{
        plugin::Answer,
        plugins::stand_in::{Chained, query},
    };

    fn asking(edns: Option<Edns>) -> Query {
        let mut query = query("www.example.org.", RecordType::A);
        Arc::make_mut(&mut query.message).edns = edns;
        query
    }

    fn option(data: &str) -> EdnsOption {
        EdnsOption::NSID(NSIDPayload::new(data).unwrap())
    }

    fn wanting() -> Edns {
        let mut edns = Edns::new();
        edns.options_mut().insert(option(""));
        edns
    }

    #[tokio::test]
    async fn only_who_asks_is_told_and_an_upstreams_identifier_gives_way() {
        let nsid = Nsid::new(&Config { data: Some("edge 7".into()) });
        let chained = Chained::of(nsid, |query| {
            let mut answer = Answer::relayed(Answer::to(query).message);
            let mut edns = Edns::new();
            edns.options_mut().insert(option("upstream"));
            answer.message.edns = Some(edns);
            Ok(answer)
        });
        for (edns, want) in
            [(None, "upstream"), (Some(Edns::new()), "upstream"), (Some(wanting()), "edge 7")]
        {
            let answer = chained.serve(&asking(edns)).await.unwrap();
            let edns = answer.message.edns.unwrap();
            assert_eq!(edns.options().get_all(EdnsCode::NSID), [&option(want)]);
        }
    }

    #[tokio::test]
    async fn without_data_it_is_the_machines_name() {
        let nsid = Nsid::new(&Config { data: None });
        let chained = Chained::of(nsid, |query| Ok(Answer::to(query)));
        let answer = chained.serve(&asking(Some(wanting()))).await.unwrap();
        let edns = answer.message.edns.unwrap();
        assert_eq!(edns.option(EdnsCode::NSID), Some(&option(&machine_name())));
        assert!(!machine_name().is_empty());
    }
}
