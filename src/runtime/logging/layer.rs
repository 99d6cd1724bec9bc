//! Takes what is told to `tracing` and writes a line for each record.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use chrono::SecondsFormat;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::line::{Record, Value};
use crate::config::LogFormat;
use crate::runtime::clock;

/// Fields that are not shown. A session id is nobody's business but the owner's; lines name the bot.
const HIDDEN: [&str; 1] = ["session"];
/// The target of records that came through the crate `log`; the true one is a field.
const THROUGH_LOG: &str = "log";

/// Writes lines.
pub struct Lines<W> {
    pub format: LogFormat,
    pub dyno: Option<String>,
    pub writer: W,
}

/// The fields of a span or an event.
#[derive(Debug, Default)]
struct Fields {
    message: Option<Value>,
    others: Vec<(&'static str, Value)>,
    /// Of a record through `log`.
    target: Option<String>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        if name == "message" {
            self.message = Some(value);
        } else if !HIDDEN.contains(&name) && !name.starts_with("log.") {
            self.others.retain(|(known, _)| *known != name);
            // A raw identifier, such as r#type.
            self.others.push((name.strip_prefix("r#").unwrap_or(name), value));
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Plain(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Plain(value.to_string()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, Value::Plain(value.to_string()));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, Value::Plain(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Plain(value.to_string()));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = Some(value.to_owned());
        }
        self.put(field, Value::text(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, Value::written(value));
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &SpanRecord<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut all: Vec<(Cow<'_, str>, Value)> =
            fields.others.into_iter().map(|(name, value)| (name.into(), value)).collect();
        // The innermost span knows best.
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            for (name, value) in extensions.get::<Fields>().into_iter().flat_map(|span| &span.others) {
                // The name of a bot says more than that of the task around it.
                let covered = |known: &str| known == *name || (known == "bot" && *name == "task");
                if !all.iter().any(|(known, _)| covered(known)) {
                    all.push(((*name).into(), value.clone()));
                }
            }
        }
        let target = event.metadata().target();
        let record = Record {
            at: clock::now().to_rfc3339_opts(SecondsFormat::Micros, true),
            level: event.metadata().level().as_str(),
            message: fields.message.unwrap_or_else(|| Value::text("")),
            fields: all,
            target: fields.target.as_deref().filter(|_| target == THROUGH_LOG).unwrap_or(target),
            dyno: self.dyno.as_deref(),
        };
        // Nobody reads it any more: no reason to stop.
        let _ = self.writer.make_writer().write_all(record.line(self.format).as_bytes());
    }
}
