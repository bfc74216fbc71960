//! Tests of the whole way from text to settings. Rows are data; see [`cases`].

mod addresses;
pub(crate) mod cases;
mod grammar;
mod messages;
mod published;
mod settings;
mod settings_beside;
mod soup;
mod values;
