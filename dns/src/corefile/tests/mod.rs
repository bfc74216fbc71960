//! Tests of the whole way from text to settings. Rows are data; see [`cases`].

mod addresses;
mod cases;
mod grammar;
mod messages;
mod plugins;
mod published;
mod readme;
mod settings;
mod settings_beside;
mod soup;
mod values;
