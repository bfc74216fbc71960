//! The wire shapes of the objects that are understood, cut down to the fields that are used.
//!
//! Generic over the text type: the API's JSON and protobuf borrow from the message ([`Borrowed`]),
//! a manifest keeps the place of each value (`Spanned<String>`) so that a mistake can point at it.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

/// Text out of a document, with its place where that is known.
pub(crate) trait Text {
    /// The text itself.
    fn text(&self) -> &str;
    /// Where it stands; [`Location::UNKNOWN`] if nobody kept it.
    fn place(&self) -> Location;
}

/// Text borrowed from the input where it stands there as it is.
#[derive(Default)]
pub(crate) struct Borrowed<'a>(Cow<'a, str>);

impl<'a> From<Cow<'a, str>> for Borrowed<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Borrowed(text)
    }
}

impl Text for Borrowed<'_> {
    fn text(&self) -> &str {
        &self.0
    }
    fn place(&self) -> Location {
        Location::UNKNOWN
    }
}

impl Text for Spanned<String> {
    fn text(&self) -> &str {
        &self.value
    }
    fn place(&self) -> Location {
        self.referenced
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Borrowed<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BorrowVisitor;
        impl<'de> Visitor<'de> for BorrowVisitor {
            type Value = Borrowed<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Borrowed(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Borrowed(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(BorrowVisitor)
    }
}

/// A string map as pairs in the order written.
#[derive(Default)]
pub(crate) struct Pairs<S>(pub(crate) Vec<(S, S)>);

impl<'de, S: Deserialize<'de>> Deserialize<'de> for Pairs<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor<S>(PhantomData<S>);
        impl<'de, S: Deserialize<'de>> Visitor<'de> for PairsVisitor<S> {
            type Value = Pairs<S>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key()? {
                    // A null value is what the API's own decoder takes for the empty string.
                    if let Some(value) = map.next_value::<Option<S>>()? {
                        pairs.push((key, value));
                    }
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor(PhantomData))
    }
}

impl<S: Text> Pairs<S> {
    /// The value of `key`.
    pub(crate) fn get(&self, key: &str) -> Option<&S> {
        self.0.iter().find(|(k, _)| k.text() == key).map(|(_, value)| value)
    }
}

/// `metav1.ObjectMeta`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata<S> {
    pub(crate) name: Option<S>,
    pub(crate) namespace: Option<S>,
    pub(crate) resource_version: Option<S>,
    pub(crate) deletion_timestamp: Option<IgnoredAny>,
    pub(crate) labels: Option<Pairs<S>>,
    pub(crate) annotations: Option<Pairs<S>>,
}

/// `v1` Service.
#[derive(Default, Deserialize)]
pub(crate) struct Service<S> {
    pub(crate) metadata: Metadata<S>,
    pub(crate) spec: Option<ServiceSpec<S>>,
    pub(crate) status: Option<ServiceStatus<S>>,
}

/// `v1` ServiceSpec.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceSpec<S> {
    pub(crate) r#type: Option<S>,
    #[serde(rename = "clusterIP")]
    pub(crate) cluster_ip: Option<S>,
    #[serde(rename = "clusterIPs")]
    pub(crate) cluster_ips: Option<Vec<S>>,
    pub(crate) external_name: Option<S>,
    #[serde(rename = "externalIPs")]
    pub(crate) external_ips: Option<Vec<S>>,
    pub(crate) ip_families: Option<Vec<S>>,
    pub(crate) ip_family_policy: Option<S>,
    pub(crate) ports: Option<Vec<Port<S>>>,
}

/// `v1` ServiceStatus.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceStatus<S> {
    pub(crate) load_balancer: Option<LoadBalancer<S>>,
}

/// `v1` LoadBalancerStatus.
#[derive(Default, Deserialize)]
pub(crate) struct LoadBalancer<S> {
    pub(crate) ingress: Option<Vec<Ingress<S>>>,
}

/// `v1` LoadBalancerIngress.
#[derive(Default, Deserialize)]
pub(crate) struct Ingress<S> {
    pub(crate) ip: Option<S>,
    pub(crate) hostname: Option<S>,
}

/// A port of a Service, a slice or an import.
#[derive(Default, Deserialize)]
pub(crate) struct Port<S> {
    pub(crate) name: Option<S>,
    pub(crate) protocol: Option<S>,
    pub(crate) port: Option<Spanned<Scalar>>,
}

/// A scalar of whatever type was written, so that a wrong one can be pointed at.
pub(crate) enum Scalar {
    Number(i64),
    Text(String),
}

impl Scalar {
    /// As a port, 1 to 65535.
    pub(crate) fn port(&self) -> Option<u16> {
        match self {
            Scalar::Number(number) => u16::try_from(*number).ok().filter(|port| *port != 0),
            Scalar::Text(_) => None,
        }
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Number(number) => number.fmt(f),
            Scalar::Text(text) => text.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar::Number(i64::try_from(number).unwrap_or(i64::MAX)))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Text(number.to_string()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// `discovery.k8s.io/v1` EndpointSlice.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointSlice<S> {
    pub(crate) metadata: Metadata<S>,
    pub(crate) address_type: Option<S>,
    pub(crate) ports: Option<Vec<Port<S>>>,
    pub(crate) endpoints: Option<Vec<Endpoint<S>>>,
}

/// `discovery.k8s.io/v1` Endpoint.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Endpoint<S> {
    pub(crate) addresses: Option<Vec<S>>,
    pub(crate) conditions: Option<Conditions>,
    pub(crate) hostname: Option<S>,
    pub(crate) target_ref: Option<TargetRef<S>>,
    pub(crate) zone: Option<S>,
}

/// `discovery.k8s.io/v1` EndpointConditions.
#[derive(Default, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) ready: Option<bool>,
}

/// `v1` ObjectReference.
#[derive(Default, Deserialize)]
pub(crate) struct TargetRef<S> {
    pub(crate) name: Option<S>,
}

/// `v1` Namespace.
#[derive(Default, Deserialize)]
pub(crate) struct Namespace<S> {
    pub(crate) metadata: Metadata<S>,
}

/// `v1` Pod.
#[derive(Default, Deserialize)]
pub(crate) struct Pod<S> {
    pub(crate) metadata: Metadata<S>,
    pub(crate) status: Option<PodStatus<S>>,
}

/// `v1` PodStatus.
#[derive(Default, Deserialize)]
pub(crate) struct PodStatus<S> {
    pub(crate) phase: Option<S>,
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: Option<S>,
    #[serde(rename = "podIPs")]
    pub(crate) pod_ips: Option<Vec<PodAddress<S>>>,
}

/// `v1` PodIP.
#[derive(Default, Deserialize)]
pub(crate) struct PodAddress<S> {
    pub(crate) ip: Option<S>,
}

/// `multicluster.x-k8s.io/v1alpha1` ServiceImport.
#[derive(Deserialize)]
pub(crate) struct ServiceImport<S> {
    pub(crate) metadata: Metadata<S>,
    pub(crate) spec: Option<ServiceImportSpec<S>>,
}

/// `multicluster.x-k8s.io/v1alpha1` ServiceImportSpec.
#[derive(Deserialize)]
pub(crate) struct ServiceImportSpec<S> {
    pub(crate) r#type: Option<S>,
    pub(crate) ips: Option<Vec<S>>,
    pub(crate) ports: Option<Vec<Port<S>>>,
}

/// `v1` Node.
#[derive(Default, Deserialize)]
pub(crate) struct Node<S> {
    pub(crate) metadata: Metadata<S>,
    pub(crate) spec: Option<NodeSpec<S>>,
    pub(crate) status: Option<NodeStatus<S>>,
}

/// `v1` NodeSpec.
#[derive(Default, Deserialize)]
pub(crate) struct NodeSpec<S> {
    #[serde(rename = "podCIDR")]
    pub(crate) pod_cidr: Option<S>,
    #[serde(rename = "podCIDRs")]
    pub(crate) pod_cidrs: Option<Vec<S>>,
}

/// `v1` NodeStatus.
#[derive(Default, Deserialize)]
pub(crate) struct NodeStatus<S> {
    pub(crate) addresses: Option<Vec<NodeAddress<S>>>,
}

/// `v1` NodeAddress.
#[derive(Default, Deserialize)]
pub(crate) struct NodeAddress<S> {
    pub(crate) r#type: Option<S>,
    pub(crate) address: Option<S>,
}

/// An object of any kind that is understood.
pub(crate) enum Shape<S> {
    Service(Service<S>),
    EndpointSlice(EndpointSlice<S>),
    Namespace(Namespace<S>),
    Pod(Pod<S>),
    ServiceImport(ServiceImport<S>),
    Node(Node<S>),
}

impl<S> Shape<S> {
    /// Reads an object of `kind`.
    pub(crate) fn read<'de, D: Deserializer<'de>>(
        kind: daymark_cluster::Kind,
        from: D,
    ) -> Result<Self, D::Error>
    where
        S: Deserialize<'de>,
    {
        use daymark_cluster::Kind;
        Ok(match kind {
            Kind::Service => Shape::Service(Deserialize::deserialize(from)?),
            Kind::EndpointSlice => Shape::EndpointSlice(Deserialize::deserialize(from)?),
            Kind::Namespace => Shape::Namespace(Deserialize::deserialize(from)?),
            Kind::Pod => Shape::Pod(Deserialize::deserialize(from)?),
            Kind::ServiceImport => Shape::ServiceImport(Deserialize::deserialize(from)?),
            Kind::Node => Shape::Node(Deserialize::deserialize(from)?),
        })
    }

    /// Its metadata.
    pub(crate) fn metadata(&self) -> &Metadata<S> {
        match self {
            Shape::Service(o) => &o.metadata,
            Shape::EndpointSlice(o) => &o.metadata,
            Shape::Namespace(o) => &o.metadata,
            Shape::Pod(o) => &o.metadata,
            Shape::ServiceImport(o) => &o.metadata,
            Shape::Node(o) => &o.metadata,
        }
    }
}
