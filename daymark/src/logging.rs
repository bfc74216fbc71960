//! Log lines: CoreDNS's form for people who know it, JSON on request.

use std::fmt;

use tracing::{Event, Level, Subscriber, field::Field};
use tracing_subscriber::{
    EnvFilter,
    field::Visit,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
    reload::Handle,
};

use prometheus::IntCounter;

use crate::{arguments::LogFormat, output::Lines};

/// What is logged unless `RUST_LOG` says otherwise. The API client's own lines say less than ours
/// about the same failures.
const FILTER: &str = "info,kube_client=off";

/// What is logged in place of [`FILTER`] where the Corefile has `debug`: our own debug lines too.
const DEBUG_FILTER: &str = "info,kube_client=off,daymark=debug,plugin=debug";

/// The log, once it is started.
pub(crate) struct Log {
    /// Where lines wait to be written.
    pub(crate) lines: Lines,
    /// Chooses between the two filters; does nothing where `RUST_LOG` has chosen.
    pub(crate) debug: Box<dyn Fn(bool) + Send>,
}

/// Starts logging to standard output. `RUST_LOG` chooses what; [`FILTER`] without it. `lost` counts
/// lines that could not be written.
///
/// # Errors
/// If there is no thread for it.
pub(crate) fn start(format: LogFormat, lost: IntCounter) -> std::io::Result<Log> {
    let lines = Lines::to(std::io::stdout(), lost)?;
    let chosen = EnvFilter::try_from_default_env().ok();
    let switches = chosen.is_none();
    let filter = chosen.unwrap_or_else(|| EnvFilter::new(FILTER));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines.clone());
    let debug = match format {
        LogFormat::Text => {
            let builder = builder.event_format(CoreDnsLines).with_filter_reloading();
            let debug = switch(builder.reload_handle());
            builder.init();
            debug
        }
        LogFormat::Json => {
            let builder = builder.json().with_filter_reloading();
            let debug = switch(builder.reload_handle());
            builder.init();
            debug
        }
    };
    let debug = if switches { debug } else { Box::new(|_| {}) };
    Ok(Log { lines, debug })
}

/// Chooses a filter, debug lines in it or not.
fn switch<S: 'static>(filter: Handle<EnvFilter, S>) -> Box<dyn Fn(bool) + Send> {
    Box::new(move |debug| {
        let chosen = EnvFilter::new(if debug { DEBUG_FILTER } else { FILTER });
        if let Err(error) = filter.reload(chosen) {
            tracing::error!(%error, "what is logged can't be changed");
        }
    })
}

/// `[LEVEL] plugin/x: message key=value`, as CoreDNS writes it.
struct CoreDnsLines;

impl<S, N> FormatEvent<S, N> for CoreDnsLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR => "ERROR",
            Level::WARN => "WARNING",
            Level::INFO => "INFO",
            Level::DEBUG | Level::TRACE => "DEBUG",
        };
        write!(writer, "[{level}] ")?;
        let target = event.metadata().target();
        if target.starts_with("plugin/") {
            write!(writer, "{target}: ")?;
        }
        let mut line = Line::default();
        event.record(&mut line);
        writeln!(writer, "{}{}", line.message, line.fields)
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            name => self.fields.push_str(&format!(" {name}={value:?}")),
        }
    }
}
