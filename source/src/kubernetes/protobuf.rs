//! The API's objects as protobuf, read into the shapes that JSON is read into.
//!
//! Field numbers are those of `generated.proto` in k8s.io/api (`core/v1`, `discovery/v1`) and in
//! k8s.io/apimachinery (`pkg/apis/meta/v1`, `pkg/runtime`); numbers are never used again for
//! something else. A text that is no pointer in Go is always written, if need be as an empty one,
//! which JSON leaves out: the rules in `trim.rs` take the two for the same.

use std::borrow::Cow;

use daymark_cluster::Kind;
use serde::de::IgnoredAny;
use serde_saphyr::{Location, Spanned};

use super::{
    encoding::{Status, Told, Verb},
    wire::{Field, Malformed, Read},
};
use crate::trim::shape::{
    Borrowed, Conditions, Endpoint, EndpointSlice, Ingress, LoadBalancer, Metadata, Namespace,
    Node, NodeAddress, NodeSpec, NodeStatus, Pod, PodAddress, PodStatus, Port, Scalar, Service,
    ServiceSpec, ServiceStatus, Shape, TargetRef,
};

/// What every object begins with (`protoEncodingPrefix` in
/// `apimachinery/pkg/runtime/serializer/protobuf`).
const MAGIC: &[u8] = b"k8s\0";

/// Reads a frame of a watch of `kind`.
pub(super) fn event(kind: Kind, frame: &[u8]) -> Result<Told<'_>, Malformed> {
    let event = WatchEvent::read(frame)?;
    let object = unwrapped(event.object.raw)?;
    Ok(match Verb::of(&event.r#type) {
        Some(verb) => Told::Object(verb, shape(kind, object)?),
        None => Told::Error(Status::read(object)?),
    })
}

/// Reads the body of a failure.
pub(super) fn status(body: &[u8]) -> Result<Status, Malformed> {
    Status::read(unwrapped(body)?)
}

/// The message inside what the API writes around each object.
fn unwrapped(object: &[u8]) -> Result<&[u8], Malformed> {
    let unknown = object.strip_prefix(MAGIC).ok_or(Malformed::NoObject)?;
    let unknown = Unknown::read(unknown)?;
    if unknown.encoded { Err(Malformed::Encoded) } else { Ok(unknown.raw) }
}

fn shape(kind: Kind, message: &[u8]) -> Result<Shape<Borrowed<'_>>, Malformed> {
    Ok(match kind {
        Kind::Service => Shape::Service(Service::read(message)?),
        Kind::EndpointSlice => Shape::EndpointSlice(EndpointSlice::read(message)?),
        Kind::Namespace => Shape::Namespace(Namespace::read(message)?),
        Kind::Pod => Shape::Pod(Pod::read(message)?),
        Kind::Node => Shape::Node(Node::read(message)?),
        // A custom resource, and those have no protobuf.
        Kind::ServiceImport => return Err(Malformed::NoObject),
    })
}

/// `metav1.WatchEvent`.
#[derive(Default)]
struct WatchEvent<'a> {
    r#type: Cow<'a, str>,
    object: RawExtension<'a>,
}

impl<'a> Read<'a> for WatchEvent<'a> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.r#type = field.text()?,
            2 => self.object.merge(field.octets()?)?,
            _ => {}
        }
        Ok(())
    }
}

/// `runtime.RawExtension`.
#[derive(Default)]
struct RawExtension<'a> {
    raw: &'a [u8],
}

impl<'a> Read<'a> for RawExtension<'a> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        if field.number == 1 {
            self.raw = field.octets()?;
        }
        Ok(())
    }
}

/// `runtime.Unknown`.
#[derive(Default)]
struct Unknown<'a> {
    raw: &'a [u8],
    /// Whether `contentEncoding` or `contentType` says something. The API leaves both empty.
    encoded: bool,
}

impl<'a> Read<'a> for Unknown<'a> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            2 => self.raw = field.octets()?,
            3 | 4 => self.encoded |= !field.octets()?.is_empty(),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Read<'a> for Status {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            3 => self.message = field.text()?.into_owned(),
            4 => self.reason = field.text()?.into_owned(),
            6 => self.code = u16::try_from(field.integer()?).unwrap_or(0),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Read<'a> for Metadata<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.name = text(field)?,
            3 => self.namespace = text(field)?,
            6 => self.resource_version = text(field)?,
            // An empty one is Go's zero time, which is null in JSON.
            9 => self.deletion_timestamp = (!field.octets()?.is_empty()).then_some(IgnoredAny),
            11 => self.labels.get_or_insert_default().0.push(pair(field)?),
            12 => self.annotations.get_or_insert_default().0.push(pair(field)?),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Read<'a> for Service<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.metadata.merge(field.octets()?),
            2 => field.merge_into(&mut self.spec),
            3 => field.merge_into(&mut self.status),
            _ => Ok(()),
        }
    }
}

impl<'a> Read<'a> for ServiceStatus<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => field.merge_into(&mut self.load_balancer),
            _ => Ok(()),
        }
    }
}

impl<'a> Read<'a> for LoadBalancer<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        if field.number == 1 {
            self.ingress.get_or_insert_default().push(field.message()?);
        }
        Ok(())
    }
}

impl<'a> Read<'a> for Ingress<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.ip = text(field)?,
            2 => self.hostname = text(field)?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Read<'a> for ServiceSpec<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.ports.get_or_insert_default().push(field.message()?),
            3 => self.cluster_ip = text(field)?,
            4 => self.r#type = text(field)?,
            5 => self.external_ips.get_or_insert_default().extend(text(field)?),
            10 => self.external_name = text(field)?,
            17 => self.ip_family_policy = text(field)?,
            18 => self.cluster_ips.get_or_insert_default().extend(text(field)?),
            19 => self.ip_families.get_or_insert_default().extend(text(field)?),
            _ => {}
        }
        Ok(())
    }
}

/// `v1` ServicePort and `discovery.k8s.io/v1` EndpointPort, whose numbers are the same.
impl<'a> Read<'a> for Port<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.name = text(field)?,
            2 => self.protocol = text(field)?,
            3 => {
                let number = Scalar::Number(field.integer()?);
                self.port = Some(Spanned::new(number, Location::UNKNOWN, Location::UNKNOWN));
            }
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Read<'a> for EndpointSlice<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.metadata.merge(field.octets()?)?,
            2 => self.endpoints.get_or_insert_default().push(field.message()?),
            3 => self.ports.get_or_insert_default().push(field.message()?),
            4 => self.address_type = text(field)?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Read<'a> for Endpoint<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.addresses.get_or_insert_default().extend(text(field)?),
            2 => field.merge_into(&mut self.conditions)?,
            3 => self.hostname = text(field)?,
            4 => field.merge_into(&mut self.target_ref)?,
            7 => self.zone = text(field)?,
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Read<'a> for Conditions {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        if field.number == 1 {
            self.ready = Some(field.integer()? != 0);
        }
        Ok(())
    }
}

impl<'a> Read<'a> for TargetRef<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        if field.number == 3 {
            self.name = text(field)?;
        }
        Ok(())
    }
}

impl<'a> Read<'a> for Namespace<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.metadata.merge(field.octets()?),
            _ => Ok(()),
        }
    }
}

impl<'a> Read<'a> for Pod<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.metadata.merge(field.octets()?),
            3 => field.merge_into(&mut self.status),
            _ => Ok(()),
        }
    }
}

impl<'a> Read<'a> for PodStatus<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.phase = text(field)?,
            6 => self.pod_ip = text(field)?,
            12 => self.pod_ips.get_or_insert_default().push(field.message()?),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Read<'a> for PodAddress<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        if field.number == 1 {
            self.ip = text(field)?;
        }
        Ok(())
    }
}

impl<'a> Read<'a> for Node<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.metadata.merge(field.octets()?),
            2 => field.merge_into(&mut self.spec),
            3 => field.merge_into(&mut self.status),
            _ => Ok(()),
        }
    }
}

impl<'a> Read<'a> for NodeSpec<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.pod_cidr = text(field)?,
            7 => self.pod_cidrs.get_or_insert_default().extend(text(field)?),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Read<'a> for NodeStatus<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        if field.number == 5 {
            self.addresses.get_or_insert_default().push(field.message()?);
        }
        Ok(())
    }
}

impl<'a> Read<'a> for NodeAddress<Borrowed<'a>> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.r#type = text(field)?,
            2 => self.address = text(field)?,
            _ => {}
        }
        Ok(())
    }
}

/// An entry of a map of texts; what it lacks is empty.
#[derive(Default)]
struct Entry<'a> {
    key: Borrowed<'a>,
    value: Borrowed<'a>,
}

impl<'a> Read<'a> for Entry<'a> {
    fn take(&mut self, field: Field<'a>) -> Result<(), Malformed> {
        match field.number {
            1 => self.key = field.text()?.into(),
            2 => self.value = field.text()?.into(),
            _ => {}
        }
        Ok(())
    }
}

fn pair<'a>(field: Field<'a>) -> Result<(Borrowed<'a>, Borrowed<'a>), Malformed> {
    field.message::<Entry<'a>>().map(|entry| (entry.key, entry.value))
}

fn text<'a>(field: Field<'a>) -> Result<Option<Borrowed<'a>>, Malformed> {
    field.text().map(|text| Some(text.into()))
}
