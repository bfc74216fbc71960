//! The templates of one block at work.

use futures::future::BoxFuture;
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, Record, RecordType},
};
use prometheus::IntCounterVec;

use super::{
    config::{Config, Rule},
    counts::Counts,
    rule::{Found, Verdict},
    text::Text,
};
use crate::{
    corefile::domain::Domain,
    metrics::Metrics,
    plugin::{Answer, Failure, FailureReason, Next, Outcome, Plugin, Query},
    server::long::add_extended_error,
    wire::{record_text, text},
};

/// The `template` plugin of one block.
pub struct Template {
    rules: Vec<Rule>,
    counts: Counts,
}

impl Template {
    /// A plugin by its settings.
    pub fn new(config: &Config, metrics: &Metrics) -> Self {
        Template { rules: config.rules.clone(), counts: Counts::new(metrics) }
    }

    async fn answer(&self, query: &Query, next: Next<'_>) -> Outcome {
        let Ok(name) = Domain::parse(&text::of(query.name())) else {
            return next.serve(query).await;
        };
        for rule in &self.rules {
            match rule.judge(query, &name) {
                Verdict::Mine(found) => return self.fill(rule, query, &found).await,
                Verdict::Pass => {}
                Verdict::Fail => return Err(refusal(ResponseCode::ServFail)),
            }
        }
        next.serve(query).await
    }

    async fn fill(&self, rule: &Rule, query: &Query, found: &Found<'_>) -> Outcome {
        let labels = labels(query, found);
        self.counts.matches.with_label_values(&labels).inc();
        let code: ResponseCode = rule.rcode.into();
        if code == ResponseCode::ServFail {
            return Err(refusal(code));
        }
        let mut answer = Answer::with_code(query, code);
        answer.message.metadata.authoritative = true;
        for template in &rule.answers {
            let record = self.record("answer", template, query, found)?;
            let target = match &record.data {
                RData::CNAME(target) => Some(target.0.clone()),
                _ => None,
            };
            answer.message.answers.push(record);
            let address = matches!(query.rtype(), RecordType::A | RecordType::AAAA);
            if let Some(target) = target.filter(|_| address)
                && let Ok(followed) = query.with_question(target, query.rtype()).ask_server().await
            {
                answer.message.metadata.truncation = followed.message.metadata.truncation;
                answer.message.answers.extend(followed.message.answers);
            }
        }
        for template in &rule.additionals {
            let record = self.record("additional", template, query, found)?;
            answer.message.additionals.push(record);
        }
        for template in &rule.authorities {
            let record = self.record("authority", template, query, found)?;
            answer.message.authorities.push(record);
        }
        if let Some((code, text)) = &rule.extended_error {
            add_extended_error(&mut answer.message, *code, text);
        }
        Ok(answer)
    }

    /// The record that a template makes; a failure is counted.
    fn record(
        &self,
        section: &'static str,
        template: &Text,
        query: &Query,
        found: &Found<'_>,
    ) -> Result<Record, Failure> {
        let fail = |counter: &IntCounterVec, error: String| {
            let [server, zone, view, class, rtype] = labels(query, found);
            let labels = [server, zone, view, class, rtype, section, template.normal()];
            counter.with_label_values(&labels).inc();
            let what = format!("{section} `{}`: {error}", template.normal());
            Failure::new("template", FailureReason::Unusable(what.into()))
        };
        let line =
            template.fill(found).map_err(|error| fail(&self.counts.failures, error.to_string()))?;
        record_text::record(&line)
            .map_err(|error| fail(&self.counts.rr_failures, format!("`{line}`: {error}")))
    }
}

impl Plugin for Template {
    fn name(&self) -> &'static str {
        "template"
    }

    fn serve<'a>(&'a self, query: &'a Query, next: Next<'a>) -> BoxFuture<'a, Outcome> {
        Box::pin(self.answer(query, next))
    }
}

/// A failure that the settings ask for: nothing went wrong, so nothing is logged.
fn refusal(code: ResponseCode) -> Failure {
    Failure::with_code("template", code, FailureReason::Refused)
}

fn labels<'a>(query: &'a Query, found: &Found<'a>) -> [&'a str; 5] {
    let labels = &query.labels;
    [&labels.server, found.zone, &labels.view, found.class, found.rtype]
}
