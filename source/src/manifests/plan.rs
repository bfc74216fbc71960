//! How to read a document once its kind is known: straight into the shape of that kind.

use daymark_cluster::Kind;
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use crate::trim::shape::Shape;

/// What to read a document, or an item of a `List`, as.
pub(super) enum Plan {
    Object(Kind),
    List(Vec<Plan>),
    Ignore,
}

/// Reads a document as its plan says.
pub(super) struct PlanSeed<'a> {
    pub(super) plan: &'a Plan,
    pub(super) shapes: &'a mut Vec<Shape<Spanned<String>>>,
}

impl<'de> DeserializeSeed<'de> for PlanSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.plan {
            Plan::Object(kind) => self.shapes.push(Shape::read(*kind, deserializer)?),
            Plan::List(plans) => {
                deserializer.deserialize_map(ListVisitor { plans, shapes: self.shapes })?;
            }
            Plan::Ignore => {
                IgnoredAny::deserialize(deserializer)?;
            }
        }
        Ok(())
    }
}

struct ListVisitor<'a> {
    plans: &'a [Plan],
    shapes: &'a mut Vec<Shape<Spanned<String>>>,
}

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of objects")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" && !self.plans.is_empty() {
                map.next_value_seed(ItemsSeed { plans: self.plans, shapes: self.shapes })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

struct ItemsSeed<'a> {
    plans: &'a [Plan],
    shapes: &'a mut Vec<Shape<Spanned<String>>>,
}

impl<'de> DeserializeSeed<'de> for ItemsSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for ItemsSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a sequence of objects")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        for plan in self.plans {
            let shapes = &mut *self.shapes;
            if seq.next_element_seed(PlanSeed { plan, shapes })?.is_none() {
                break;
            }
        }
        Ok(())
    }
}
