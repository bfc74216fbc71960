//! The API's objects as JSON.

use daymark_cluster::Kind;
use serde::{Deserialize, de::Error};

use super::encoding::{Status, Told, Verb};
use crate::trim::shape::{Borrowed, Shape, Text};

#[derive(Deserialize)]
struct Line<'a, T> {
    #[serde(borrow)]
    r#type: Borrowed<'a>,
    object: T,
}

/// Reads a line of a watch of `kind`.
pub(super) fn event(kind: Kind, line: &[u8]) -> Result<Told<'_>, serde_json::Error> {
    let error = match object(kind, line) {
        Ok((Some(verb), shape)) => return Ok(Told::Object(verb, shape)),
        Ok((None, _)) => serde_json::Error::custom("an error of no shape"),
        Err(error) => error,
    };
    // A status may be taken for a bare object, or not fit it at all.
    match serde_json::from_slice::<Line<'_, Status>>(line) {
        Ok(line) if Verb::of(line.r#type.text()).is_none() => Ok(Told::Error(line.object)),
        _ => Err(error),
    }
}

/// Reads an element of a list of `kind`.
pub(super) fn item(kind: Kind, item: &[u8]) -> Result<Shape<Borrowed<'_>>, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(item);
    let shape = Shape::read(kind, &mut json)?;
    json.end()?;
    Ok(shape)
}

type Read<'a> = Result<(Option<Verb>, Shape<Borrowed<'a>>), serde_json::Error>;

fn object(kind: Kind, line: &[u8]) -> Read<'_> {
    fn read<'a, T: Deserialize<'a>>(
        line: &'a [u8],
        shape: fn(T) -> Shape<Borrowed<'a>>,
    ) -> Read<'a> {
        let line: Line<'a, T> = serde_json::from_slice(line)?;
        Ok((Verb::of(line.r#type.text()), shape(line.object)))
    }
    match kind {
        Kind::Service => read(line, Shape::Service),
        Kind::EndpointSlice => read(line, Shape::EndpointSlice),
        Kind::Namespace => read(line, Shape::Namespace),
        Kind::Pod => read(line, Shape::Pod),
        Kind::ServiceImport => read(line, Shape::ServiceImport),
        Kind::Node => read(line, Shape::Node),
    }
}
