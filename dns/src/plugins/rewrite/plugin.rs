//! The rules of one block at work.

use futures::future::BoxFuture;
use hickory_proto::rr::{RData, Record};

use super::{
    config::Config,
    reversal::{Reversal, revert_code, revert_options, revert_records},
    rule::{Rule, Subject},
};
use crate::{
    plugin::{Answer, Failure, FailureReason, Next, Outcome, Plugin, Query},
    wire::text,
};

/// The `rewrite` plugin of one block.
pub struct Rewrite {
    rules: Vec<Rule>,
}

impl Rewrite {
    /// A plugin by its settings.
    pub fn new(config: &Config) -> Self {
        Rewrite { rules: config.rules.clone() }
    }

    /// The query that the rules make of `query`, and what its reply needs; `None` if no rule is for it.
    fn rewrite(&self, query: &Query) -> Result<Option<(Query, Vec<Reversal>)>, Failure> {
        let mut subject = Subject::of(query);
        let mut reversals = Vec::new();
        let mut applied = false;
        for rule in &self.rules {
            let Some(more) = rule.apply(&mut subject) else { continue };
            if text::name(&subject.name).is_none() {
                let what = format!("invalid name after rewrite: {}", subject.name);
                return Err(Failure::new("rewrite", FailureReason::Unusable(what.into())));
            }
            applied = true;
            reversals.extend(more);
            if !rule.goes_on {
                break;
            }
        }
        // A rule that does not apply may have added an OPT record all the same, as in CoreDNS.
        if !applied && subject.edns.is_some() == query.message.edns.is_some() {
            return Ok(None);
        }
        Ok(subject.put_into(query).map(|query| (query, reversals)))
    }
}

impl Plugin for Rewrite {
    fn name(&self) -> &'static str {
        "rewrite"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let Some((rewritten, reversals)) = self.rewrite(query)? else {
                return next.serve(query).await;
            };
            match next.serve(&rewritten).await {
                Ok(answer) => Ok(revert(answer, &rewritten, &reversals).await),
                Err(failure) => {
                    let code = revert_code(failure.code, &reversals);
                    Err(Failure { code, ..failure })
                }
            }
        })
    }
}

/// Makes of the reply to `asked` one to what the client asked.
async fn revert(mut answer: Answer, asked: &Query, reversals: &[Reversal]) -> Answer {
    let tail = lead_elsewhere(&mut answer, asked, reversals).await;
    revert_records(&mut answer.message, reversals);
    revert_options(&mut answer.message, reversals);
    answer.message.answers.extend(tail);
    let code = &mut answer.message.metadata.response_code;
    *code = revert_code(*code, reversals);
    answer
}

/// Lets the first alias that a rule is for lead elsewhere, and follows it: the aliases up to it stay, the
/// answer for its new target is given back.
async fn lead_elsewhere(answer: &mut Answer, asked: &Query, reversals: &[Reversal]) -> Vec<Record> {
    // What one rule makes of a target is a target for the rules before it, as in CoreDNS.
    let renaming = |record: &Record| {
        let RData::CNAME(target) = &record.data else { return None };
        let target = text::folded(&target.0);
        reversals.iter().rev().fold(None, |changed: Option<String>, reversal| {
            let Reversal::Cname(renaming) = reversal else { return changed };
            let again = renaming.apply(changed.as_deref().unwrap_or(&target), &asked.metadata);
            again.or(changed)
        })
    };
    let mut answers = answer.message.answers.iter().enumerate();
    let found = answers.find_map(|(at, record)| Some((at, text::name(&renaming(record)?)?)));
    let Some((at, target)) = found else { return Vec::new() };
    let followed = asked.with_question(target.clone(), asked.rtype()).ask_server().await;
    let (followed, truncation) = match followed {
        Ok(followed) => (followed.message.answers, followed.message.metadata.truncation),
        Err(Failure { reason: FailureReason::TooDeep, .. }) => return Vec::new(),
        // The alias leads there all the same, as in CoreDNS.
        Err(failure) => {
            tracing::warn!(target: "plugin/rewrite", "{target}, for a changed alias: {}", failure.reason);
            (Vec::new(), false)
        }
    };
    let answers = &mut answer.message.answers;
    answers.truncate(at + 1);
    answers.retain(|record| matches!(record.data, RData::CNAME(_)));
    if let Some(RData::CNAME(alias)) = answers.last_mut().map(|record| &mut record.data) {
        alias.0 = target;
    }
    // A cut answer must not pass, or be kept, for a whole one.
    answer.message.metadata.truncation = truncation;
    followed
}
